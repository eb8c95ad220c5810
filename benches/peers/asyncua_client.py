"""The asyncua client of the peer benches: subscribes as every client does, writes Y on X."""

import asyncio
import sys

import uvloop
from asyncua import Client, ua

sys.set_int_max_str_digits(0)


class Handler:
    def __init__(self, index, client):
        self.updates = 0
        self.total = 0.0
        self.x = f"ns={index};s=X"
        self.y = ua.NodeId("Y", index)
        self.client = client
        self.tasks = set()

    def datachange_notification(self, node, value, data):
        self.updates += 1
        self.total += value
        if node.nodeid.Identifier == "X":
            task = asyncio.ensure_future(self.write(50.0 + value))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def write(self, value):
        node = self.client.get_node(self.y)
        data = ua.DataValue(ua.Variant(value, ua.VariantType.Double))
        await node.write_attribute(ua.AttributeIds.Value, data)


async def main():
    url, tags, publishing = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    client = Client(url, timeout=60)
    await client.connect()
    index = await client.get_namespace_index("urn:trimloop:bench")
    handler = Handler(index, client)
    parameters = ua.CreateSubscriptionParameters()
    parameters.RequestedPublishingInterval = publishing
    parameters.RequestedLifetimeCount = 1000
    parameters.RequestedMaxKeepAliveCount = 100
    parameters.PublishingEnabled = True
    subscription = await client.create_subscription(parameters, handler)
    names = [f"T{n}" for n in range(tags)] + ["X", "Y"]
    for start in range(0, len(names), 1000):
        nodes = [client.get_node(ua.NodeId(name, index)) for name in names[start:start + 1000]]
        await subscription.subscribe_data_change(nodes, queuesize=20, sampling_interval=0.0)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print("updates", handler.updates, flush=True)
    await client.disconnect()


if __name__ == "__main__":
    uvloop.run(main())
