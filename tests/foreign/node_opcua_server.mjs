// An OPC UA server for the wire tests, on the JavaScript stack node-opcua.
//
// It is steered by JSON lines on standard input and tells what happens as JSON lines on standard
// output. README.md beside this file holds the protocol, which asyncua_server.py shares.
//
// - Tags are set synchronously, so tags set by one command are set without a gap.
// - The end of standard input ends the server: no orphan outlives its test.
// - Standard output carries events only; the library's own lines go to standard error.
//
// Packages are found beside this file or along NODE_PATH (hence `require`: `import` ignores it).

import { Console } from "node:console";
import { existsSync, readdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { parseArgs } from "node:util";

// The library prints with console.log, which would land between the events.
globalThis.console = new Console(process.stderr, process.stderr);

const require = createRequire(import.meta.url);
const { ensureDatatypeExtracted } = require("node-opcua-address-space");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MonitoredItem, OPCUAServer, Subscription } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { nodesets } = require("node-opcua-nodesets");
const { EUInformation } = require("node-opcua-types");
const { StatusCodes } = require("node-opcua-status-code");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");

const NAMESPACE = "urn:trimloop:foreign";
const INTEGER_RANGE = {
  Int16: [-(2n ** 15n), 2n ** 15n - 1n],
  Int32: [-(2n ** 31n), 2n ** 31n - 1n],
  Int64: [-(2n ** 63n), 2n ** 63n - 1n],
  UInt32: [0n, 2n ** 32n - 1n],
};
// JSON has no sign for these; strings stand in, both ways.
const NOT_FINITE = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

/** A command asks for something that the protocol does not allow. */
class CommandError extends Error {}

/** Writes one event line. */
function emit(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** One tag value (Int64 as BigInt) as JSON: strings where a JSON number cannot carry it. */
function toJson(value) {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, toJson);
  if (typeof value === "bigint") {
    return value >= -9007199254740991n && value <= 9007199254740991n
      ? Number(value)
      : String(value);
  }
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value === null || value === undefined) return null;
  return typeof value === "number" || typeof value === "boolean" ? value : String(value);
}

/** A JSON or CSV value as the JavaScript value (Int64 as BigInt) of a tag of type `typeName`. */
function toTag(value, typeName) {
  if (typeName === "Boolean") {
    if (typeof value !== "string") return Boolean(value);
    if (!["true", "false", "1", "0"].includes(value.toLowerCase())) {
      throw new CommandError(`not a Boolean: ${value}`);
    }
    return ["true", "1"].includes(value.toLowerCase());
  }
  if (typeName in INTEGER_RANGE) {
    const integer =
      typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : Number(value);
    const [low, high] = INTEGER_RANGE[typeName];
    if (
      (typeof integer === "number" && !Number.isInteger(integer)) ||
      integer < low ||
      integer > high
    ) {
      throw new CommandError(`${value} is no ${typeName}`);
    }
    return typeName === "Int64" ? BigInt(integer) : Number(integer);
  }
  const number =
    typeof value === "string" && value in NOT_FINITE ? NOT_FINITE[value] : Number(value);
  if (Number.isNaN(number) && value !== "NaN") throw new CommandError(`not a number: ${value}`);
  // What a client reads is the single-precision value; say the same in events.
  return typeName === "Float" ? Math.fround(number) : number;
}

/** A tag's value for the library, which keeps an Int64 as its high and low 32 bits. */
function toVariant(value, typeName) {
  const wire = { dataType: DataType[typeName], arrayType: VariantArrayType.Scalar, value };
  if (typeName === "Int64") {
    const bits = BigInt.asUintN(64, value);
    wire.value = [Number(bits >> 32n), Number(bits & 0xffffffffn)];
  }
  return new Variant(wire);
}

function fromWire(variant) {
  if (variant.value === null || variant.value === undefined) return null;
  if (variant.dataType === DataType.Int64 && variant.arrayType === VariantArrayType.Scalar) {
    return BigInt.asIntN(64, (BigInt(variant.value[0]) << 32n) | BigInt(variant.value[1]));
  }
  return variant.value;
}

function statusNamed(name) {
  const code = StatusCodes[name];
  if (!code) throw new CommandError(`no status code is called ${name}`);
  return code;
}

/** One variable below Objects/Cell. */
class Tag {
  constructor(id, typeName, variable) {
    this.id = id;
    this.typeName = typeName;
    this.variable = variable;
    /** What an Uncertain status shows when the tag holds nothing. */
    this.last = null;
  }

  get value() {
    return fromWire(this.variable.readValue().value);
  }

  get code() {
    return this.variable.readValue().statusCode;
  }

  /** Replaces value, status and source timestamp and tells every subscription. */
  store(value, now, status = StatusCodes.Good) {
    this.last = this.value ?? this.last;
    const variant =
      value === null ? new Variant({ dataType: DataType.Null }) : toVariant(value, this.typeName);
    this.variable.setValueFromSource(variant, status, now);
  }
}

/** The tags, and what the commands do with them. */
class Cell {
  constructor(namespace, folder) {
    this.namespace = namespace;
    this.folder = folder;
    this.tags = new Map();
    this.refused = new Map();
    this.valueOnly = false;
    this.echoes = new Map();
    this.running = new Set();
    this.historyReads = 0;
  }

  tag(id) {
    const tag = this.tags.get(id);
    if (!tag) throw new CommandError(`no tag is called ${id}`);
    return tag;
  }

  setOne(id, value, now) {
    const tag = this.tag(id);
    tag.store(toTag(value, tag.typeName), now);
  }

  /** Puts refusals, reports and echoes in front of the library's own handling of client writes. */
  watchWrites(tag) {
    const { variable } = tag;
    const write = Object.getPrototypeOf(variable).writeValue;
    variable.writeValue = (context, dataValue, ...rest) => {
      const done = rest.pop();
      const value = toJson(fromWire(dataValue.value));
      const { statusCode, sourceTimestamp, serverTimestamp } = dataValue;
      // The library does not tell a missing status from Good.
      const bare = statusCode.isGood() && !sourceTimestamp && !serverTimestamp;
      const finish = (error, code) => {
        const t_ms = Date.now();
        if (!error && code.isGood()) {
          emit("write", { id: tag.id, value, bare, t_ms });
          for (const target of this.echoes.get(tag.id) ?? [])
            this.setOne(target, tag.value, new Date());
        } else {
          emit("write_refused", { id: tag.id, value, code: code?.name ?? String(error), t_ms });
        }
        done(error, code);
      };
      // The library would store an array in a scalar.
      const isArray = dataValue.value.arrayType !== VariantArrayType.Scalar;
      const refused =
        this.refused.get(tag.id) ??
        (isArray ? StatusCodes.BadTypeMismatch : null) ??
        (this.valueOnly && !bare ? StatusCodes.BadWriteNotSupported : null);
      if (refused) finish(null, refused);
      else write.call(variable, context, dataValue, ...rest, finish);
    };
  }

  // -- commands --------------------------------------------------------------------------------

  add({ tags }) {
    for (const spec of tags) this.addOne(spec);
    return { namespace_index: this.namespace.index };
  }

  addOne(spec) {
    const { id, type, value = 0, writable = false, low, high, unit, unit_id = -1 } = spec;
    if (this.tags.has(id)) throw new CommandError(`tag ${id} exists`);
    if (!(type in INTEGER_RANGE) && !["Double", "Float", "Boolean"].includes(type)) {
      throw new CommandError(`no tag type is called ${type}`);
    }
    const access = writable ? "CurrentRead | CurrentWrite" : "CurrentRead";
    const options = {
      // A number as identifier, and another browse name, as PLCs have them.
      nodeId: spec.number === undefined ? `s=${id}` : `i=${spec.number}`,
      browseName: spec.browse_name ?? id,
      organizedBy: this.folder,
      dataType: type,
      accessLevel: access,
      userAccessLevel: access,
      // 0 = report on change instead of by sampling.
      minimumSamplingInterval: 0,
      value: toVariant(toTag(value, type), type),
    };
    const variable =
      low === undefined || high === undefined
        ? this.namespace.addVariable({ ...options, typeDefinition: "BaseDataVariableType" })
        : this.namespace.addAnalogDataItem({ ...options, engineeringUnitsRange: { low, high } });
    if (unit !== undefined) {
      this.namespace.addVariable({
        nodeId: `s=${id}.EngineeringUnits`,
        browseName: { name: "EngineeringUnits", namespaceIndex: 0 },
        propertyOf: variable,
        typeDefinition: "PropertyType",
        dataType: "EUInformation",
        value: {
          dataType: DataType.ExtensionObject,
          value: new EUInformation({
            namespaceUri: "http://www.opcfoundation.org/UA/units/un/cefact",
            unitId: unit_id,
            displayName: { text: unit },
            description: { text: unit },
          }),
        },
      });
    }
    const tag = new Tag(id, type, variable);
    tag.store(toTag(value, type), new Date());
    this.watchWrites(tag);
    this.tags.set(id, tag);
  }

  /** Adds an array, a matrix and structures; asked again it sets their values. */
  async parts({ offset = 0 }) {
    this.partNodes ??= await this.addParts();
    const { temps, matrix, press, zoneType, pressType } = this.partNodes;
    const { addressSpace } = this.namespace;
    const zones = [0, 1, 2].map((i) =>
      addressSpace.constructExtensionObject(zoneType, { temp: 200 + i + offset, on: i % 2 === 0 }),
    );
    const value = addressSpace.constructExtensionObject(pressType, {
      name: "press",
      pressure: 480.5 + offset,
      count: 7 + offset,
      zones,
      best: zones[1],
    });
    const now = new Date();
    const set = (variable, variant) =>
      variable.setValueFromSource(new Variant(variant), StatusCodes.Good, now);
    set(temps, {
      dataType: DataType.Double,
      arrayType: VariantArrayType.Array,
      value: Float64Array.from({ length: 8 }, (_, i) => i + offset),
    });
    set(matrix, {
      dataType: DataType.Double,
      arrayType: VariantArrayType.Matrix,
      dimensions: [2, 3],
      value: Float64Array.from([0, 1, 2, 10, 11, 12], (x) => x + offset),
    });
    set(press, { dataType: DataType.ExtensionObject, value });
  }

  async addParts() {
    const structure = (browseName, fields) => {
      const type = this.namespace.createDataType({
        browseName,
        isAbstract: false,
        partialDefinition: fields,
        subtypeOf: "Structure",
      });
      this.namespace.addObject({
        browseName: { name: "Default Binary", namespaceIndex: 0 },
        encodingOf: type,
        typeDefinition: "DataTypeEncodingType",
      });
      return type;
    };
    const zoneType = structure("TrimloopZone", [
      { name: "Temp", dataType: DataType.Double, valueRank: -1 },
      { name: "On", dataType: DataType.Boolean, valueRank: -1 },
    ]);
    const pressType = structure("TrimloopPress", [
      { name: "Name", dataType: DataType.String, valueRank: -1 },
      { name: "Pressure", dataType: DataType.Double, valueRank: -1 },
      { name: "Count", dataType: DataType.Int32, valueRank: -1 },
      { name: "Zones", dataType: zoneType.nodeId, valueRank: 1 },
      { name: "Best", dataType: zoneType.nodeId, valueRank: -1 },
    ]);
    // The library read the types of all namespaces before this one had any.
    delete this.namespace.addressSpace.$$extraDataTypeManager;
    await ensureDatatypeExtracted(this.namespace.addressSpace);
    const add = (name, dataType, more) =>
      this.namespace.addVariable({
        nodeId: `s=${name}`,
        browseName: name,
        organizedBy: this.folder,
        dataType,
        minimumSamplingInterval: 0,
        ...more,
      });
    return {
      zoneType,
      pressType,
      temps: add("Temps", "Double", { valueRank: 1, arrayDimensions: [8] }),
      matrix: add("Matrix", "Double", { valueRank: 2, arrayDimensions: [2, 3] }),
      press: add("Press", pressType, { valueRank: -1 }),
    };
  }

  set({ values }) {
    // Convert all first: a wrong value leaves every tag as it was.
    const now = new Date();
    const converted = Object.entries(values).map(([id, v]) => [
      this.tag(id),
      toTag(v, this.tag(id).typeName),
    ]);
    for (const [tag, value] of converted) tag.store(value, now);
  }

  /** Sets values of one tag one after the other, with source times of their own. */
  series({ id, values, t_ms, step_ms = 1 }) {
    const tag = this.tag(id);
    for (const [number, value] of values.entries()) {
      tag.store(toTag(value, tag.typeName), new Date(t_ms + number * step_ms));
    }
  }

  /** Keeps a history of tags, in memory; states `nodes_max` in the OperationLimits. */
  historize({ ids, nodes_max = 0 }) {
    this.capabilities.operationLimits.maxNodesPerHistoryReadData = nodes_max;
    for (const id of ids) {
      const { variable } = this.tag(id);
      this.namespace.addressSpace.installHistoricalDataNode(variable, { maxOnlineValues: 100_000 });
      const read = variable._historyRead;
      variable._historyRead = (...rest) => {
        this.historyReads += 1;
        return read.apply(variable, rest);
      };
    }
  }

  history_count() {
    return { reads: this.historyReads };
  }

  status({ id, code, value }) {
    const tag = this.tag(id);
    const status = statusNamed(code);
    const kept = status.value >>> 31 === 1 ? null : (tag.value ?? tag.last);
    tag.store(
      value === undefined || value === null ? kept : toTag(value, tag.typeName),
      new Date(),
      status,
    );
  }

  get({ ids }) {
    const tags = ids.map((id) => this.tag(id));
    return {
      values: Object.fromEntries(tags.map((tag) => [tag.id, toJson(tag.value)])),
      codes: Object.fromEntries(tags.map((tag) => [tag.id, tag.code.name])),
    };
  }

  echo({ from, to }) {
    this.tag(to);
    const source = this.tag(from).id;
    this.echoes.set(source, [...(this.echoes.get(source) ?? []), to]);
  }

  refuse({ id, code = null }) {
    const tag = this.tag(id);
    if (code === null) this.refused.delete(tag.id);
    else this.refused.set(tag.id, statusNamed(code));
  }

  strict({ on = true }) {
    this.valueOnly = on;
  }

  level({ value }) {
    const node = this.namespace.addressSpace.findNode("i=2267");
    const level = { dataType: DataType.Byte, value };
    // The library's own getter answers 255 for ever.
    node.bindVariable({ get: () => new Variant(level) }, true);
  }

  play(command) {
    const columns = Object.entries(command.columns).map(([name, id]) => [name, this.tag(id)]);
    const edge = this.tag(command.edge);
    const rows = readRows(command, columns);
    const empty = statusNamed(command.empty ?? "BadNoData");
    const first = BigInt(command.first_edge ?? Number(edge.value) + 1);
    const row = (number) => {
      const now = new Date();
      for (const [index, [, tag]] of columns.entries()) {
        const value = rows[number][index];
        tag.store(value, now, value === null ? empty : StatusCodes.Good);
      }
      edge.store(toTag(String(first + BigInt(number)), edge.typeName), now);
    };
    this.paced(command.period_ms ?? 0, rows.length, row, () =>
      emit("played", { rows: rows.length }),
    );
    return { rows: rows.length };
  }

  closed_loop(command) {
    for (const key of ["x", "u", "y", "part", "label_part", "label"]) {
      if (command[key] !== undefined && command[key] !== null) this.tag(command[key]);
    }
    const u = this.tag(command.u);
    const label = command.label ?? command.y;
    const {
      label_delay_parts: delay = 0,
      parts,
      gain = 1,
      target = 0,
      first_part = 1,
      report = true,
    } = command;
    const u0 = command.u0 ?? Number(u.value);
    const script = new Map(command.x_script ?? []);
    const made = [];
    let x = 0;
    const step = (index) => {
      const number = index + 1;
      const now = new Date();
      const uNow = u.value === null ? Number.NaN : Number(u.value);
      if (number <= parts) {
        x = script.get(number) ?? x;
        made.push(target + x + gain * (uNow - u0));
        this.setNumber(command.x, x, now);
        if (label !== command.y) this.setNumber(command.y, made.at(-1), now);
      }
      if (number > delay) {
        this.setNumber(label, made[number - delay - 1], now);
        if (command.label_part)
          this.setOne(command.label_part, first_part - 1 + number - delay, now);
      }
      if (number <= parts) {
        const part = first_part - 1 + number;
        this.setOne(command.part, part, now);
        if (report)
          emit("part", {
            part,
            x: toJson(x),
            u: toJson(uNow),
            y: toJson(made.at(-1)),
            t_ms: Date.now(),
          });
      }
    };
    this.paced(command.period_ms ?? 0, parts + delay, step, () =>
      emit("closed_loop_done", { parts, u: toJson(u.value), y: toJson(made.at(-1) ?? null) }),
    );
  }

  /** Sets a computed number, which may have become NaN by what a client wrote. */
  setNumber(id, number, now) {
    this.setOne(id, Number.isFinite(number) ? number : String(number), now);
  }

  /** Ends what play and closed_loop started. */
  stop() {
    const stopped = this.running.size;
    for (const cancel of this.running) cancel();
    this.running.clear();
    return { stopped };
  }

  /** Calls `step(0..count)` at an even period; a late step does not delay the following ones. */
  paced(periodMs, count, step, done) {
    let due = performance.now();
    let index = 0;
    let timer = null;
    const cancel = () => {
      clearTimeout(timer);
      clearImmediate(timer);
    };
    const next = () => {
      const wait = due - performance.now();
      timer = wait > 0 ? setTimeout(tick, wait) : setImmediate(tick);
    };
    const tick = () => {
      // Timers have whole milliseconds and may fire a fraction early.
      if (performance.now() < due) return next();
      try {
        if (index === count) {
          this.running.delete(cancel);
          return done();
        }
        step(index);
      } catch (error) {
        this.running.delete(cancel);
        return emit("error", { message: describe(error) });
      }
      index += 1;
      // The end is told at once, not a period later.
      if (index < count) due += periodMs;
      return next();
    };
    this.running.add(cancel);
    next();
  }
}

/** One CSV line as its fields; a quoted field may hold the delimiter and doubled quotes. */
function fields(line, delimiter) {
  if (!line.includes('"')) return line.split(delimiter);
  const found = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < line.length; at += 1) {
    const letter = line[at];
    if (letter === '"' && quoted && line[at + 1] === '"') {
      field += '"';
      at += 1;
    } else if (letter === '"') quoted = !quoted;
    else if (letter === delimiter && !quoted) {
      found.push(field);
      field = "";
    } else field += letter;
  }
  return [...found, field];
}

/** The chosen rows of a CSV file, converted, in the order of `columns`; `null` where empty. */
function readRows({ file, delimiter = ",", from = 0, to = null }, columns) {
  const text = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  const [header, ...lines] = text.split(/\r?\n/).filter((line) => line !== "");
  const names = fields(header ?? "", delimiter);
  const missing = columns.map(([name]) => name).filter((name) => !names.includes(name));
  if (missing.length > 0) throw new CommandError(`no column ${missing} in ${file}`);
  const places = columns.map(([name]) => names.indexOf(name));
  return lines.slice(from, to ?? undefined).map((line) => {
    const cells = fields(line, delimiter);
    return columns.map(([, tag], at) => {
      const cell = cells[places[at]];
      return cell === undefined || cell === "" ? null : toTag(cell, tag.typeName);
    });
  });
}

function describe(error) {
  return error instanceof CommandError ? error.message : String(error);
}

/** Runs the commands of standard input one after the other until its end or `quit`. */
async function serveCommands(cell) {
  const names = new Set([
    "add",
    "set",
    "series",
    "historize",
    "history_count",
    "status",
    "level",
    "get",
    "echo",
    "play",
    "closed_loop",
    "refuse",
    "strict",
    "stop",
    "parts",
  ]);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    let cmd = null;
    let extra = {};
    try {
      const command = JSON.parse(line);
      cmd = command.cmd;
      if ("ref" in command) extra = { ref: command.ref };
      if (cmd === "quit") {
        emit("ok", { cmd, ...extra });
        return;
      }
      if (!names.has(cmd)) throw new CommandError(`no command is called ${cmd}`);
      const answer = (await cell[cmd](command)) ?? {};
      if (cmd === "get") emit("values", { ...answer, ...extra });
      else emit("ok", { cmd, ...answer, ...extra });
    } catch (error) {
      // A command that fails must not end the server.
      emit("error", { cmd, message: describe(error), ...extra });
    }
  }
}

/** The library's lower bounds, 50 ms, are static; a PLC with fast tasks grants less. */
function boundPublishing(publishMsMin) {
  Subscription.minimumPublishingInterval = publishMsMin;
  Subscription.defaultPublishingInterval = Math.max(
    publishMsMin,
    Subscription.defaultPublishingInterval,
  );
  MonitoredItem.minimumSamplingInterval = 0;
}

function plain() {
  return { securityPolicies: [SecurityPolicy.None], securityModes: [MessageSecurityMode.None] };
}

// Every policy and mode beside None; one user by password.
function secured(folder) {
  return {
    certificateFile: path.join(folder, "server.pem"),
    privateKeyFile: path.join(folder, "server-key.pem"),
    securityPolicies: [
      SecurityPolicy.None,
      SecurityPolicy.Basic256Sha256,
      SecurityPolicy.Aes128_Sha256_RsaOaep,
      SecurityPolicy.Aes256_Sha256_RsaPss,
    ],
    securityModes: [
      MessageSecurityMode.None,
      MessageSecurityMode.Sign,
      MessageSecurityMode.SignAndEncrypt,
    ],
    userManager: { isValidUser: (name, password) => name === "operator" && password === "right" },
  };
}

// Clients must lie in `trusted`, their issuers in `issuers` with a list in `crl`; the user with a
// certificate is `user.der`.
async function trustKnown(managers, folder) {
  await managers.server.initialize();
  await managers.user.initialize();
  for (const name of readdirSync(path.join(folder, "trusted"))) {
    await managers.server.trustCertificate(readFileSync(path.join(folder, "trusted", name)));
  }
  const kept = (name) => {
    const inside = path.join(folder, name);
    return existsSync(inside)
      ? readdirSync(inside).map((file) => readFileSync(path.join(inside, file)))
      : [];
  };
  for (const issuer of kept("issuers")) await managers.server.addIssuer(issuer);
  for (const list of kept("crl")) await managers.server.addRevocationList(list);
  const user = path.join(folder, "user.der");
  if (existsSync(user)) await managers.user.trustCertificate(readFileSync(user));
}

async function main() {
  const { values: options } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      "publish-min-ms": { type: "string", default: "1" },
      tags: { type: "string" },
      "namespaces-before": { type: "string", default: "0" },
      scratch: { type: "string" },
      security: { type: "string" },
    },
  });
  boundPublishing(Number(options["publish-min-ms"]));
  // The library insists on a certificate and takes a lock file in its folder, which a killed
  // process leaves behind for 2 minutes: every server gets its own folder.
  const scratch = options.scratch ?? mkdtempSync(path.join(tmpdir(), "trimloop-foreign-"));
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const folder_of_keys = options.security;
  const pki = (name) =>
    new OPCUACertificateManager({
      rootFolder: path.join(scratch, name),
      automaticallyAcceptUnknownCertificate: !folder_of_keys,
    });
  const managers = { server: pki("server"), user: pki("user") };
  if (folder_of_keys) await trustKnown(managers, folder_of_keys);
  const server = new OPCUAServer({
    port: Number(options.port),
    hostname: "127.0.0.1",
    host: "127.0.0.1",
    resourcePath: "/trimloop",
    nodeset_filename: [nodesets.standard],
    serverCertificateManager: managers.server,
    userCertificateManager: managers.user,
    ...(folder_of_keys ? secured(folder_of_keys) : plain()),
    serverInfo: {
      applicationUri: "urn:trimloop:foreign:node-opcua",
      productUri: "urn:trimloop:foreign:node-opcua",
    },
    buildInfo: { productName: "trimloop foreign node-opcua" },
    allowAnonymous: true,
    disableDiscovery: false,
    serverCapabilities: { maxMonitoredItemsQueueSize: 10_000 },
  });
  await server.initialize();
  const { addressSpace } = server.engine;
  for (let number = 0; number < Number(options["namespaces-before"]); number += 1) {
    addressSpace.registerNamespace(`${NAMESPACE}:before:${number}`);
  }
  const namespace = addressSpace.registerNamespace(NAMESPACE);
  const folder = namespace.addObject({
    nodeId: "s=Cell",
    browseName: "Cell",
    organizedBy: addressSpace.rootFolder.objects,
    typeDefinition: "BaseObjectType",
  });
  const cell = new Cell(namespace, folder);
  cell.capabilities = server.engine.serverCapabilities;
  if (options.tags) cell.add({ tags: JSON.parse(readFileSync(options.tags, "utf8")) });
  await server.start();
  const { port } = server.endpoints[0];
  emit("ready", {
    url: `opc.tcp://127.0.0.1:${port}/trimloop`,
    port,
    kind: "node-opcua",
    namespace_index: namespace.index,
  });
  await serveCommands(cell);
  cell.stop();
  await server.shutdown(0);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
