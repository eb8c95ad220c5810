// The node-opcua client of the peer benches: subscribes as every client does, writes Y on X.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const opcua = require(process.env.PEERS_NODE_OPCUA);
const { AttributeIds, DataType, OPCUAClient, TimestampsToReturn } = opcua;

const [url, tags, publishing] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const client = OPCUAClient.create({
  endpointMustExist: false,
  keepSessionAlive: true,
  requestedSessionTimeout: 600000,
  transportTimeout: 600000,
});
await client.connect(url);
const session = await client.createSession();
const namespaces = await session.readNamespaceArray();
const ns = namespaces.indexOf("urn:trimloop:bench");
const subscription = await session.createSubscription2({
  requestedPublishingInterval: publishing,
  requestedLifetimeCount: 1000,
  requestedMaxKeepAliveCount: 100,
  maxNotificationsPerPublish: 0,
  publishingEnabled: true,
  priority: 1,
});
let updates = 0;
let total = 0;
const y = `ns=${ns};s=Y`;
const names = Array.from({ length: tags }, (_, n) => `T${n}`).concat(["X", "Y"]);
for (let start = 0; start < names.length; start += 1000) {
  const part = names.slice(start, start + 1000);
  const group = await subscription.monitorItems(
    part.map((name) => ({ nodeId: `ns=${ns};s=${name}`, attributeId: AttributeIds.Value })),
    { samplingInterval: 0, discardOldest: true, queueSize: 20 },
    TimestampsToReturn.Both,
  );
  group.on("changed", (item, data, index) => {
    updates += 1;
    total += data.value.value;
    if (part[index] === "X") {
      session.write({
        nodeId: y,
        attributeId: AttributeIds.Value,
        value: { value: { dataType: DataType.Double, value: 50 + data.value.value } },
      });
    }
  });
}
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line) console.log(`updates ${updates}`);
}
await session.close();
await client.disconnect();
process.exit(total < 0 ? 1 : 0);
