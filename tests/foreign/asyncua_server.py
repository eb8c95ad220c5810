"""An OPC UA server for the wire tests, on the Python stack `asyncua`.

It is steered by JSON lines on standard input and tells what happens as JSON lines on standard
output. README.md beside this file holds the protocol, which node_opcua_server.mjs shares.

- Everything runs on one event loop, so tags set by one command are set without a gap.
- The end of standard input ends the server: no orphan outlives its test.
- Standard output carries events only; the library logs to standard error.
"""

import argparse
import asyncio
import csv
import json
import logging
import math
import struct
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from asyncua.server.address_space import AttributeService
from asyncua.server.monitored_item_service import MonitoredItemValues

NAMESPACE = "urn:trimloop:foreign"
# One command may add thousands of tags on one line.
LINE_BYTES_MAX = 64 * 1024 * 1024
INTEGER_BITS = {
    "Int16": (16, True),
    "Int32": (32, True),
    "Int64": (64, True),
    "UInt32": (32, False),
}
# JSON has no sign for these; strings stand in, both ways.
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
JSON_INTEGER_MAX = 2**53 - 1
ANALOG_ITEM_TYPE = ua.NodeId(ua.ObjectIds.AnalogItemType)


class CommandError(Exception):
    """A command asks for something that the protocol does not allow."""


def emit(event, **fields):
    """Writes one event line."""
    sys.stdout.write(json.dumps({"event": event, **fields}, allow_nan=False) + "\n")
    sys.stdout.flush()


def wall_ms():
    return time.time_ns() // 1_000_000


def to_json(value):
    """One tag value as JSON: strings where a JSON number cannot carry it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if isinstance(value, int):
        return value if abs(value) <= JSON_INTEGER_MAX else str(value)
    return str(value)


def to_wire(value, type_name):
    """A JSON or CSV value as the Python value of a tag of type `type_name`."""
    if type_name == "Boolean":
        if isinstance(value, str):
            if value.lower() not in ("true", "false", "1", "0"):
                raise CommandError(f"not a Boolean: {value!r}")
            return value.lower() in ("true", "1")
        return bool(value)
    if type_name in INTEGER_BITS:
        bits, signed = INTEGER_BITS[type_name]
        try:
            number = int(value) if isinstance(value, (int, str)) else value
        except ValueError:
            number = float(value)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if number != int(number) or not low <= number <= high:
            raise CommandError(f"{value!r} is no {type_name}")
        return int(number)
    number = NOT_FINITE[value] if isinstance(value, str) and value in NOT_FINITE else float(value)
    if type_name == "Float":
        # What a client reads is the single-precision value; say the same in events.
        return struct.unpack("<f", struct.pack("<f", number))[0]
    return number


def status_named(name):
    try:
        return ua.StatusCode(getattr(ua.StatusCodes, name))
    except AttributeError:
        raise CommandError(f"no status code is called {name!r}") from None


class Tag:
    """One variable below Objects/Cell."""

    def __init__(self, tag_id, type_name, attribute):
        self.id = tag_id
        self.type_name = type_name
        self.variant_type = ua.VariantType[type_name]
        self.attribute = attribute
        # What an Uncertain status shows when the tag holds nothing.
        self.last = None

    @property
    def value(self):
        return self.attribute.value.Value.Value

    async def store(self, value, now, status=None):
        """Replaces value, status and source timestamp and tells every subscription."""
        self.last = self.last if self.value is None else self.value
        variant = (
            ua.Variant(value, self.variant_type)
            if value is not None
            else ua.Variant(None, ua.VariantType.Null)
        )
        data = ua.DataValue(
            variant,
            StatusCode=status or ua.StatusCode(ua.StatusCodes.Good),
            SourceTimestamp=now,
            ServerTimestamp=now,
        )
        self.attribute.value = data
        for handle, callback in list(self.attribute.datachange_callbacks.items()):
            await callback(handle, data)


class ReportedWrites(AttributeService):
    """The attribute service, with refusals, reports and echoes for client writes."""

    def __init__(self, address_space, cell):
        super().__init__(address_space)
        self.cell = cell

    async def write(self, params, user=None):
        if user is None or user.role == UserRole.Admin:
            # The server's own clock and set-up; remote administrators are switched off.
            return await super().write(params, *([user] if user else []))
        return [await self._write_one(item, user) for item in params.NodesToWrite]

    async def _write_one(self, item, user):
        tag = (
            self.cell.by_node.get(item.NodeId)
            if item.AttributeId == ua.AttributeIds.Value
            else None
        )
        code = self.cell.refused.get(tag.id) if tag else None
        # The library does not tell a missing status from Good.
        bare = (
            (item.Value.StatusCode is None or item.Value.StatusCode.is_good())
            and item.Value.SourceTimestamp is None
            and item.Value.ServerTimestamp is None
        )
        if code is None and tag and (item.Value.Value is None or item.Value.Value.is_array):
            # asyncua compares the element type only and would store an array.
            code = ua.StatusCode(ua.StatusCodes.BadTypeMismatch)
        if code is None and tag and self.cell.value_only and not bare:
            code = ua.StatusCode(ua.StatusCodes.BadWriteNotSupported)
        if code is None:
            if tag and item.Value.SourceTimestamp is None:
                item.Value = ua.DataValue(
                    item.Value.Value,
                    StatusCode=item.Value.StatusCode,
                    SourceTimestamp=datetime.now(timezone.utc),
                )
            single = ua.WriteParameters()
            single.NodesToWrite = [item]
            (code,) = await super().write(single, user)
        if tag:
            value = item.Value.Value.Value if item.Value.Value is not None else None
            value = [to_json(v) for v in value] if isinstance(value, list) else to_json(value)
            if code.is_good():
                emit("write", id=tag.id, value=value, bare=bare, t_ms=wall_ms())
                await self.cell.echo_write(tag)
            else:
                emit("write_refused", id=tag.id, value=value, code=code.name, t_ms=wall_ms())
        return code


class Cell:
    """The tags, and what the commands do with them."""

    def __init__(self, server, namespace_index, folder):
        self.server = server
        self.namespace_index = namespace_index
        self.folder = folder
        self.tags = {}
        self.by_node = {}
        self.nodes = {}
        self.history_reads = 0
        self.refused = {}
        self.value_only = False
        self.echoes = {}
        self.running = set()
        self.press_type = None
        self.part_nodes = {}

    def tag(self, tag_id):
        try:
            return self.tags[tag_id]
        except KeyError:
            raise CommandError(f"no tag is called {tag_id!r}") from None

    async def set(self, tag_id, value, now):
        tag = self.tag(tag_id)
        await tag.store(to_wire(value, tag.type_name), now)

    async def echo_write(self, tag):
        for target in self.echoes.get(tag.id, ()):
            await self.set(target, tag.value, datetime.now(timezone.utc))

    # -- commands ------------------------------------------------------------------------------

    async def add(self, command):
        for spec in command["tags"]:
            await self._add_one(spec)
        return {"namespace_index": self.namespace_index}

    async def _add_one(self, spec):
        tag_id, type_name = spec["id"], spec["type"]
        if tag_id in self.tags:
            raise CommandError(f"tag {tag_id!r} exists")
        if type_name not in INTEGER_BITS and type_name not in ("Double", "Float", "Boolean"):
            raise CommandError(f"no tag type is called {type_name!r}")
        variant_type = ua.VariantType[type_name]
        # A number as identifier, and another browse name, as PLCs have them.
        node_id = ua.NodeId(spec.get("number", tag_id), self.namespace_index)
        node = await self.folder.add_variable(
            node_id,
            ua.QualifiedName(spec.get("browse_name", tag_id), self.namespace_index),
            ua.Variant(to_wire(spec.get("value", 0), type_name), variant_type),
            datatype=ua.NodeId(variant_type.value),
        )
        if spec.get("writable"):
            await node.set_writable()
        if "low" in spec and "high" in spec:
            type_definition = ua.NodeId(ua.ObjectIds.HasTypeDefinition)
            base = ua.NodeId(ua.ObjectIds.BaseDataVariableType)
            await node.delete_reference(base, type_definition, forward=True, bidirectional=False)
            await node.add_reference(
                ANALOG_ITEM_TYPE, type_definition, forward=True, bidirectional=False
            )
            await node.add_property(
                ua.NodeId(f"{tag_id}.EURange", self.namespace_index),
                ua.QualifiedName("EURange", 0),
                ua.Range(float(spec["low"]), float(spec["high"])),
                datatype=ua.NodeId(ua.ObjectIds.Range),
            )
        if "unit" in spec:
            await node.add_property(
                ua.NodeId(f"{tag_id}.EngineeringUnits", self.namespace_index),
                ua.QualifiedName("EngineeringUnits", 0),
                ua.EUInformation(
                    NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
                    UnitId=spec.get("unit_id", -1),
                    DisplayName=ua.LocalizedText(spec["unit"]),
                    Description=ua.LocalizedText(spec["unit"]),
                ),
                datatype=ua.NodeId(ua.ObjectIds.EUInformation),
            )
        attribute = self.server.iserver.aspace[node_id].attributes[ua.AttributeIds.Value]
        tag = Tag(tag_id, type_name, attribute)
        await tag.store(tag.value, datetime.now(timezone.utc))
        self.tags[tag_id] = tag
        self.by_node[node_id] = tag
        self.nodes[tag_id] = node

    async def parts(self, command):
        """Adds an array, a matrix and structures, whose values `parts` sets when asked again."""
        offset = command.get("offset", 0)
        if self.press_type is None:
            await self._add_parts()
        now = datetime.now(timezone.utc)
        zones = [ua.TrimloopZone(Temp=200.0 + i + offset, On=i % 2 == 0) for i in range(3)]
        press = ua.TrimloopPress(
            Name="press", Pressure=480.5 + offset, Count=7 + offset, Zones=zones, Best=zones[1]
        )
        temps = [float(i) + offset for i in range(8)]
        matrix = ua.Variant(
            [[float(10 * r + c) + offset for c in range(3)] for r in range(2)],
            ua.VariantType.Double,
            is_array=True,
        )
        for node, value in (
            (self.part_nodes["Temps"], ua.Variant(temps, ua.VariantType.Double)),
            (self.part_nodes["Matrix"], matrix),
            (self.part_nodes["Press"], ua.Variant(press, ua.VariantType.ExtensionObject)),
        ):
            await node.write_value(ua.DataValue(value, SourceTimestamp=now, ServerTimestamp=now))

    async def _add_parts(self):
        index = self.namespace_index
        zone, _ = await new_struct(
            self.server,
            index,
            "TrimloopZone",
            [
                new_struct_field("Temp", ua.VariantType.Double),
                new_struct_field("On", ua.VariantType.Boolean),
            ],
        )
        press, _ = await new_struct(
            self.server,
            index,
            "TrimloopPress",
            [
                new_struct_field("Name", ua.VariantType.String),
                new_struct_field("Pressure", ua.VariantType.Double),
                new_struct_field("Count", ua.VariantType.Int32),
                new_struct_field("Zones", zone, array=True),
                new_struct_field("Best", zone),
            ],
        )
        await self.server.load_data_type_definitions()
        self.press_type = press
        double = ua.NodeId(ua.VariantType.Double.value)
        for name, value, kind, rank in (
            ("Temps", [0.0] * 8, double, 1),
            ("Matrix", [[0.0] * 3] * 2, double, 2),
            ("Press", ua.TrimloopPress(), press.nodeid, -1),
        ):
            node = await self.folder.add_variable(
                ua.NodeId(name, index), ua.QualifiedName(name, index), value, datatype=kind
            )
            await node.write_attribute(
                ua.AttributeIds.ValueRank, ua.DataValue(ua.Variant(rank, ua.VariantType.Int32))
            )
            self.part_nodes[name] = node

    async def set_values(self, command):
        # Convert all first: a wrong value leaves every tag as it was.
        now = datetime.now(timezone.utc)
        values = [
            (self.tag(i), to_wire(v, self.tag(i).type_name)) for i, v in command["values"].items()
        ]
        for tag, value in values:
            await tag.store(value, now)

    async def status(self, command):
        tag, status = self.tag(command["id"]), status_named(command["code"])
        if command.get("value") is not None:
            value = to_wire(command["value"], tag.type_name)
        else:
            held = tag.last if tag.value is None else tag.value
            value = None if status.is_bad() else held
        await tag.store(value, datetime.now(timezone.utc), status)

    async def get(self, command):
        values, codes = {}, {}
        for tag_id in command["ids"]:
            data = self.tag(tag_id).attribute.value
            values[tag_id] = to_json(data.Value.Value)
            codes[tag_id] = data.StatusCode.name
        return {"values": values, "codes": codes}

    async def echo(self, command):
        self.tag(command["to"])
        self.echoes.setdefault(self.tag(command["from"]).id, []).append(command["to"])

    async def refuse(self, command):
        tag = self.tag(command["id"])
        if command.get("code") is None:
            self.refused.pop(tag.id, None)
        else:
            self.refused[tag.id] = status_named(command["code"])

    async def strict(self, command):
        self.value_only = command.get("on", True)

    async def series(self, command):
        """Sets values of one tag one after the other, with source times of their own."""
        tag = self.tag(command["id"])
        for number, value in enumerate(command["values"]):
            at_ms = command["t_ms"] + number * command.get("step_ms", 1)
            now = datetime.fromtimestamp(at_ms / 1000, timezone.utc)
            await tag.store(to_wire(value, tag.type_name), now)

    async def historize(self, command):
        """Keeps a history of tags, in memory.

        The library answers calls of any size: those of more than `nodes_max` nodes are refused here,
        without a word about it in the OperationLimits.
        """
        manager = self.server.iserver.history_manager
        manager.storage.max_history_data_response_size = command.get("page", 10_000)
        most = command.get("nodes_max")
        read = manager.read_history

        async def read_history(params):
            if most is not None and len(params.NodesToRead) > most:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
            self.history_reads += 1
            return await read(params)

        manager.read_history = read_history
        for tag_id in command["ids"]:
            await self.server.historize_node_data_change(self.nodes[self.tag(tag_id).id])

    async def history_count(self, _command):
        return {"reads": self.history_reads}

    async def level(self, command):
        """Sets how well the server says that it serves."""
        node = self.server.get_node(ua.NodeId(ua.ObjectIds.Server_ServiceLevel))
        await node.write_value(ua.DataValue(ua.Variant(command["value"], ua.VariantType.Byte)))

    async def play(self, command):
        columns = {name: self.tag(i) for name, i in command["columns"].items()}
        rows = read_rows(command, columns)
        edge = self.tag(command["edge"])
        first = command.get("first_edge")
        self._start(
            self._play(command, columns, rows, edge, edge.value + 1 if first is None else first)
        )
        return {"rows": len(rows)}

    async def _play(self, command, columns, rows, edge, first):
        empty = status_named(command.get("empty", "BadNoData"))
        pace = Pace(command.get("period_ms", 0))
        for number, row in enumerate(rows):
            await pace.next()
            now = datetime.now(timezone.utc)
            for name, tag in columns.items():
                value = row[name]
                await tag.store(value, now, empty if value is None else None)
            await edge.store(to_wire(first + number, edge.type_name), now)
        emit("played", rows=len(rows))

    async def closed_loop(self, command):
        for key in ("x", "u", "y", "part", "label_part", "label"):
            if command.get(key) is not None:
                self.tag(command[key])
        self._start(self._closed_loop(command))

    async def _closed_loop(self, command):
        x_id, y_id, u = command["x"], command["y"], self.tag(command["u"])
        label_id, label_part_id = command.get("label") or y_id, command.get("label_part")
        delay, parts = int(command.get("label_delay_parts", 0)), int(command["parts"])
        gain, target = float(command.get("gain", 1.0)), float(command.get("target", 0.0))
        u0 = float(command["u0"]) if command.get("u0") is not None else float(u.value)
        script, x = {int(part): float(value) for part, value in command.get("x_script", [])}, 0.0
        part_offset = 0 if command.get("first_part") is None else int(command["first_part"]) - 1
        made, pace = [], Pace(command.get("period_ms", 0))
        for number in range(1, parts + delay + 1):
            await pace.next()
            now = datetime.now(timezone.utc)
            if number <= parts:
                x = script.get(number, x)
                u_now = float(u.value) if u.value is not None else math.nan
                y = target + x + gain * (u_now - u0)
                made.append(y)
                await self.set(x_id, x, now)
                if label_id != y_id:
                    await self.set(y_id, y, now)
            if number > delay:
                await self.set(label_id, made[number - delay - 1], now)
                if label_part_id is not None:
                    await self.set(label_part_id, part_offset + number - delay, now)
            if number <= parts:
                part = part_offset + number
                await self.set(command["part"], part, now)
                if command.get("report", True):
                    emit(
                        "part",
                        part=part,
                        x=to_json(x),
                        u=to_json(u_now),
                        y=to_json(y),
                        t_ms=wall_ms(),
                    )
        emit(
            "closed_loop_done",
            parts=parts,
            u=to_json(u.value),
            y=to_json(made[-1]) if made else None,
        )

    async def stop(self, _command):
        """Ends what play and closed_loop started."""
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {"stopped": len(tasks)}

    def _start(self, work):
        async def reported():
            try:
                await work
            except Exception as error:  # told to the test, which fails on it
                emit("error", message=describe(error))

        task = asyncio.create_task(reported())
        self.running.add(task)
        task.add_done_callback(self.running.discard)


class Pace:
    """Ticks at an even period; a late tick does not delay the following ones."""

    def __init__(self, period_ms):
        self.period_s = float(period_ms) / 1000.0
        self.due_s = time.monotonic()

    async def next(self):
        await asyncio.sleep(max(self.due_s - time.monotonic(), 0.0))
        self.due_s += self.period_s


def read_rows(command, columns):
    """The chosen rows of a CSV file: one dict of converted values per row, `None` where empty."""
    rows = []
    with open(command["file"], newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=command.get("delimiter", ","))
        missing = [name for name in columns if name not in (reader.fieldnames or [])]
        if missing:
            raise CommandError(f"no column {missing} in {command['file']}")
        for index, row in enumerate(reader):
            if index < command.get("from", 0):
                continue
            if command.get("to") is not None and index >= command["to"]:
                break
            rows.append(
                {
                    name: to_wire(row[name], tag.type_name) if row[name] else None
                    for name, tag in columns.items()
                }
            )
    return rows


def describe(error):
    return str(error) if isinstance(error, CommandError) else f"{type(error).__name__}: {error}"


async def serve_commands(cell):
    """Runs the commands of standard input one after the other until its end or `quit`."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    names = (
        "add", "status", "get", "echo", "play", "closed_loop", "refuse", "strict", "level", "stop",
        "parts", "series", "historize", "history_count",
    )
    commands = {name: getattr(cell, name) for name in names} | {"set": cell.set_values}
    while line := await reader.readline():
        if not line.strip():
            continue
        name, extra = None, {}
        try:
            command = json.loads(line)
            name = command.get("cmd")
            if "ref" in command:
                extra["ref"] = command["ref"]
            if name == "quit":
                emit("ok", cmd=name, **extra)
                return
            if name not in commands:
                raise CommandError(f"no command is called {name!r}")
            answer = await commands[name](command) or {}
            if name == "get":
                emit("values", **answer, **extra)
            else:
                emit("ok", cmd=name, **answer, **extra)
        except Exception as error:  # a command that fails must not end the server
            emit("error", cmd=name, message=describe(error), **extra)


def keep_values_uncopied():
    """asyncua deep-copies each value per monitored item, against later mutation.

    Tags here are only ever replaced, so the reference is enough. The copy took 50 of 80 us of
    processor time per update with 200 tags every 10 ms, which it could not keep up.
    """

    def set_current(self, value):
        self.old_dvalue, self.current_dvalue = self.current_dvalue, value

    MonitoredItemValues.set_current_datavalue = set_current


def bound_publishing(server, publish_ms_min):
    """asyncua grants any publishing interval; a PLC has a smallest one."""
    service = server.iserver.subscription_service
    create = service.create_subscription

    async def create_subscription(params, *args, **kwargs):
        params.RequestedPublishingInterval = max(
            params.RequestedPublishingInterval, publish_ms_min
        )
        return await create(params, *args, **kwargs)

    service.create_subscription = create_subscription


class KnownUsers:
    """One user by password, one by certificate; anonymous clients may read and write, too."""

    def __init__(self, folder):
        user = folder / "user.der"
        self.user = user.read_bytes() if user.exists() else None
        self.clients = [file.read_bytes() for file in (folder / "trusted").iterdir()]

    def get_user(self, iserver, username=None, password=None, certificate=None):
        if username is not None:
            known = (username, password) == ("operator", "right")
        else:
            # The library hands over the channel's certificate for anonymous clients.
            known = certificate is None or certificate in [self.user, *self.clients]
        return User(role=UserRole.User) if known else None


async def secure(server, folder):
    """Offers every policy and mode beside None; clients must lie in `trusted`."""
    await server.load_certificate(folder / "server.der")
    await server.load_private_key(folder / "server-key.pem")
    await server.set_application_uri("urn:trimloop:foreign:asyncua")
    types = ua.SecurityPolicyType
    server.set_security_policy(
        [
            types.NoSecurity,
            types.Basic256Sha256_Sign,
            types.Basic256Sha256_SignAndEncrypt,
            types.Aes128Sha256RsaOaep_Sign,
            types.Aes128Sha256RsaOaep_SignAndEncrypt,
            types.Aes256Sha256RsaPss_Sign,
            types.Aes256Sha256RsaPss_SignAndEncrypt,
        ]
    )
    server.set_identity_tokens(
        [ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken]
    )
    trusted = TrustStore([folder / "trusted"], [])
    await trusted.load()
    options = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_CLIENT
    server.set_certificate_validator(CertificateValidator(options, trusted))


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 picks a free one")
    parser.add_argument(
        "--publish-min-ms", type=float, default=1.0, help="smallest publishing interval"
    )
    parser.add_argument("--tags", help="file with the tags of an `add`, there before it listens")
    parser.add_argument(
        "--namespaces-before", type=int, default=0, help="namespaces registered before ours"
    )
    parser.add_argument("--scratch", help="unused; the other server needs it")
    parser.add_argument("--security", type=Path, help="folder of certificates: all policies")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    keep_values_uncopied()

    server = Server(user_manager=KnownUsers(options.security) if options.security else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{options.port}/trimloop")
    server.set_server_name("trimloop foreign asyncua")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    if options.security:
        await secure(server, options.security)
    server.allow_remote_admin(False)
    bound_publishing(server, options.publish_min_ms)
    for number in range(options.namespaces_before):
        await server.register_namespace(f"{NAMESPACE}:before:{number}")
    namespace_index = await server.register_namespace(NAMESPACE)
    folder = await server.nodes.objects.add_object(
        ua.NodeId("Cell", namespace_index), ua.QualifiedName("Cell", namespace_index)
    )
    cell = Cell(server, namespace_index, folder)
    server.iserver.attribute_service = ReportedWrites(server.iserver.aspace, cell)
    if options.tags:
        with open(options.tags, encoding="utf-8") as file:
            await cell.add({"tags": json.load(file)})
    await server.start()
    emit(
        "ready",
        url=f"opc.tcp://127.0.0.1:{server.bserver.port}/trimloop",
        port=server.bserver.port,
        kind="asyncua",
        namespace_index=namespace_index,
    )
    try:
        await serve_commands(cell)
    finally:
        await cell.stop({})
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
