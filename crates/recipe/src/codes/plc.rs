//! Codes of PLC configs, TL03.

use super::{Code, codes};

codes! {
    BAD_URL = "TL0301" {
        title: "not an OPC UA address",
        means: "The url must begin with opc.tcp:// and name a host.",
        why: "trimloop speaks OPC UA over TCP only.",
        wrong: "url = \"http://10.0.0.5\"",
        right: "url = \"opc.tcp://10.0.0.5:4840\"",
    }
    OPEN_LINK = "TL0302" {
        title: "an unprotected link to another machine",
        means: "`security = \"none\"` is taken for this machine's loopback, or with \
            `unprotected = true`.",
        why: "Anyone on the network could read along, or answer in the PLC's place.",
        wrong: "security = \"none\" with a plant address",
        right: "security = \"Basic256Sha256\"",
    }
    UNKNOWN_ALIAS = "TL0303" {
        title: "an unknown namespace alias",
        means: "The word before the colon is not in `namespaces`.",
        why: "Namespaces are found by their URI at every connect, because their index changes \
            with a \
         download.",
        wrong: "id = \"pres:s=MeltTemp\"",
        right: "id = \"press:s=MeltTemp\"",
    }
    BAD_NODE = "TL0304" {
        title: "a node address that cannot be read",
        means: "An address is ALIAS:s=TEXT, ALIAS:i=NUMBER, ALIAS:g=GUID or ALIAS:b=BASE64; a \
            path is \
         SEGMENT/SEGMENT.",
        why: "An address that is nearly right may be another node.",
        wrong: "id = \"Press4.MeltTemp\"",
        right: "id = \"press:s=Press4.MeltTemp\"",
    }
    NODE_TWICE = "TL0305" {
        title: "two names for one node",
        means: "Two node tables have the same address.",
        why: "Usually one of them was copied and not changed: a tag then shows another tag's \
            value.",
        wrong: "two tables with id = \"press:s=MeltTemp\"",
        right: "one table per node",
    }
    HEARTBEAT_TIMEOUT = "TL0306" {
        title: "heartbeat timeout too short",
        means: "The timeout must be at least two periods.",
        why: "One late beat would drop the link again and again.",
        wrong: "period = \"200 ms\", timeout = \"200 ms\"",
        right: "timeout = \"1 s\"",
    }
    NO_NODE = "TL0307" {
        title: "a tag without a node",
        means: "The recipe uses a tag for which the PLC config has no [node.NAME].",
        why: "The tag would be Missing for ever, and what needs it would hold.",
        wrong: "[tag.melt_temp] in the recipe only",
        right: "[node.melt_temp] in the PLC config",
    }
    UNKNOWN_NODE = "TL0308" {
        title: "a node that is not declared",
        means: "Heartbeat, enable or clock names a node for which there is no table.",
        why: "The link could never be checked.",
        wrong: "write = \"hearbeat_in\"",
        right: "write = \"heartbeat_in\"",
    }
    NODE_ADDRESS = "TL0310" {
        title: "a node needs exactly one address",
        means: "Give `id` or `path`, not both, not neither.",
        why: "Two addresses may lead to two nodes.",
        wrong: "[node.melt_temp] without `id`",
        right: "id = \"press:s=Press4.MeltTemp\"",
    }
    NODE_TYPE = "TL0311" {
        title: "a type that does not fit",
        means: "The node's type cannot carry what it is used for.",
        why: "A conversion that loses digits is refused at connect; better to see it here.",
        wrong: "type = \"Boolean\" for a setpoint",
        right: "type = \"Double\"",
    }
    BAD_NAMESPACE = "TL0312" {
        title: "not a namespace",
        means: "An alias stands for a namespace URI, which is not empty and stands once.",
        why: "Two aliases for one URI make two names for one node.",
        wrong: "namespaces = { press = \"\" }",
        right: "namespaces = { press = \"urn:plant:press-4\" }",
    }
    LINK_TIMES = "TL0313" {
        title: "times of the link that contradict",
        means: "A time of the link is shorter than what it waits for.",
        why: "The link would be stale before it can be fresh.",
        wrong: "stale = \"100 ms\" with publishing = \"500 ms\"",
        right: "stale = \"2 s\"",
    }
    UNUSED_WRITABLE = "TL0314" {
        title: "a writable node that nothing writes",
        means: "The node is marked writable, and neither heartbeat nor a setpoint of the recipe \
            writes \
         it.",
        why: "Every writable node is reach that somebody has to justify.",
        wrong: "writable = true on a sensor",
        right: "remove `writable`",
    }
    BAD_USER = "TL0315" {
        title: "a user that cannot sign in",
        means: "[plc.user] names a user with a password from elsewhere, or a certificate with its \
            private key.",
        why: "A PLC config is read, copied and backed up by many; a secret in it is none.",
        wrong: "user = { name = \"trimloop\", password = \"1234\" }",
        right: "user = { name = \"trimloop\", password_file = \"plc-password\" }",
    }
    GUARD_BLOCK = "TL0316" {
        title: "a handshake block that cannot be used",
        means: "[owner] and [guard.NAME] belong together: a guard needs an owner, an owner needs a \
            heartbeat, every member needs an address, and the guarded node is not written itself.",
        why: "Half a handshake refuses every request, or none.",
        wrong: "[guard.hold_pressure_sp] without [owner]",
        right: "[owner]\n        block = \"press:s=Press4.Owner\"\n        slot  = \"A\"",
    }
    URLS = "TL0317" {
        title: "a list of addresses that is none",
        means: "`url` is one address, or a list of different addresses of one PLC.",
        why: "An address that stands there twice is no second way to the PLC.",
        wrong: "url = [\"opc.tcp://10.0.0.5:4840\", \"opc.tcp://10.0.0.5:4840\"]",
        right: "url = [\"opc.tcp://10.0.0.5:4840\", \"opc.tcp://10.0.1.5:4840\"]",
    }
    BELOW_FLOOR = "TL0318" {
        title: "faster than the vendor's server goes",
        means: "An interval is shorter than the shortest that the server of the named profile \
            serves.",
        why: "The server answers with its own, so that values come later than the PLC config says.",
        wrong: "profile = \"s7-1200\" with publishing = \"10 ms\"",
        right: "publishing = \"200 ms\"",
    }
    SAME_PLC = "TL0350" {
        title: "one PLC under two names",
        means: "Two PLC configs of the recipe have the same address.",
        why: "One PLC would get two sessions, two heartbeats and two owners, and each would take \
            the other for a stranger.",
        wrong: "plc = \"press-4b\", with the url of press-4",
        right: "one PLC config with the nodes of both",
    }
    IDLE_PLC = "TL0351" {
        title: "a leading PLC that gives nothing",
        means: "No tag of the recipe lives on the PLC that [recipe] names.",
        why: "The cell would wait for a PLC that it does not need; often it is the wrong name.",
        wrong: "plc = \"press-4\" in [recipe], and plc = \"dryer\" in every tag",
        right: "plc = \"dryer\" in [recipe]",
    }
    BAD_PART = "TL0330" {
        title: "a part of a value that cannot be read",
        means: "`index` is one number per dimension from 0; `field` is names with dots, each with \
            an element in brackets where it is an array.",
        why: "A part that is nearly right is another number of the same array.",
        wrong: "index = \"1:2\"",
        right: "index = \"1\", or field = \"Zones[2].Temp\"",
    }
    PART_WRITABLE = "TL0331" {
        title: "a part of a value cannot be written",
        means: "The node is an element of an array or a field of a structure, and marked writable.",
        why: "The whole value would have to be written, with parts that the PLC changes meanwhile.",
        wrong: "field = \"HoldPressure\" with writable = true",
        right: "a variable of its own in the PLC, with writable = true",
    }
    PLACEHOLDER = "TL0332" {
        title: "a word in braces without a value",
        means: "A template's text has a word in braces that the asset gives no value for, or braces \
            that do not belong together.",
        why: "The address would have a hole.",
        wrong: "with = { asset = \"Press4\" }      (the template also has {n})",
        right: "with = { asset = \"Press4\", n = \"1\" }",
    }
    UNUSED_VALUE = "TL0333" {
        title: "a value that its template has no place for",
        means: "The asset gives a value for a word that stands nowhere in the template.",
        why: "Usually the word is misspelt, here or there.",
        wrong: "with = { aset = \"Press4\" }",
        right: "with = { asset = \"Press4\" }",
    }
    ASSET_NODE_TWICE = "TL0334" {
        title: "two nodes of one name",
        means: "A node made for an asset is called like another node.",
        why: "One of the two would silently be lost.",
        wrong: "[asset.zone_1] with a node temp, and [node.zone_1_temp]",
        right: "one of them under another name",
    }
    UNKNOWN_TEMPLATE = "TL0335" {
        title: "a template that is not declared",
        means: "An asset names a template for which there is no table.",
        why: "Its nodes cannot be made.",
        wrong: "template = \"zoen\"",
        right: "template = \"zone\"",
    }
    UNUSED_TEMPLATE = "TL0336" {
        title: "a template without assets",
        means: "No asset is made from the template.",
        why: "Its nodes are nowhere, which nobody might notice.",
        wrong: "[template.zone] and no [asset.…]",
        right: "[asset.zone_1] with template = \"zone\"",
    }
}
