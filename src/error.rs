//! Errors as people read them: the whole chain of causes, once, at the edge; and the service's
//! own table of stable codes beside those of `trimloop-recipe` (02 to 05) and `trimloop-cmms` (085x).

use std::error::Error;

use trimloop_recipe::codes::{self, Code};

/// An error with its causes: `cannot open x: permission denied`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A code of any crate by its name, such as `TL0214`; small letters are taken too.
#[must_use]
pub fn find_code(name: &str) -> Option<&'static Code> {
    let name = name.trim().to_ascii_uppercase();
    all_codes().find(|code| code.code == name)
}

/// The codes of all crates.
pub fn all_codes() -> impl Iterator<Item = &'static Code> {
    let presets = trimloop_cmms::codes::ALL;
    SERVICE_CODES.iter().copied().chain(codes::all()).chain(presets)
}

/// Declares codes and the list of them.
macro_rules! codes {
    ($($name:ident = $code:literal {
        title: $title:literal, means: $means:literal, why: $why:literal,
        wrong: $wrong:literal, right: $right:literal,
    })*) => {
        $(
            #[doc = $title]
            pub static $name: Code = Code {
                code: $code, title: $title, means: $means, why: $why,
                wrong: $wrong, right: $right,
            };
        )*
        /// Every code of the service, in order.
        pub static SERVICE_CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    SETTINGS_READ = "TL0101" {
        title: "settings file cannot be read",
        means: "The file named with --config (or TRIMLOOP_CONFIG) is missing, or may not be read.",
        why: "trimloop never guesses settings that somebody asked for by name.",
        wrong: "trimloop run --config no-such-folder",
        right: "trimloop run --config .        (a folder with trimloop.toml, or the file itself)",
    }
    SETTINGS_SYNTAX = "TL0102" {
        title: "settings file is not TOML",
        means: "The text breaks the rules of TOML at the marked place.",
        why: "Nothing after that place can be trusted to mean what it says.",
        wrong: "name = cell-1",
        right: "name = \"cell-1\"",
    }
    SETTINGS_KEY = "TL0103" {
        title: "unknown setting",
        means: "No setting has this name; the same goes for TRIMLOOP_SECTION__KEY variables.",
        why: "A misspelt setting would silently keep its default.",
        wrong: "[log]\n        levle = \"info\"",
        right: "[log]\n        level = \"info\"",
    }
    SETTINGS_VALUE = "TL0104" {
        title: "setting has a value that does not fit",
        means: "The value is of another kind than the setting takes, or outside what it allows.",
        why: "The service would start with something else than what was meant.",
        wrong: "[log]\n        level = \"loud\"",
        right: "[log]\n        level = \"info\"",
    }
    FOLDER_MISSING = "TL0105" {
        title: "folder does not exist",
        means: "A folder that the settings name is not there.",
        why: "Without it there is nothing to run or check.",
        wrong: "[paths]\n        recipes = \"recipe\"",
        right: "[paths]\n        recipes = \"recipes\"",
    }
    RECIPE_CHOICE = "TL0106" {
        title: "which recipe to run is not said",
        means: "The recipes folder holds several recipes, or none of the name in [cell] recipe.",
        why: "Only one recipe may act on a cell, and trimloop does not choose it.",
        wrong: "(no [cell] table, and two files in recipes/)",
        right: "[cell]\n        recipe = \"housing-lid\"",
    }
    FILE_READ = "TL0107" {
        title: "file cannot be read",
        means: "A recipe, PLC config or model that was to be checked could not be read.",
        why: "What cannot be read cannot be checked.",
        wrong: "trimloop check recipes/gone.toml",
        right: "trimloop check recipes/housing-lid.toml",
    }
    WORK_REFUSED = "TL0801" {
        title: "the work desk did not do it",
        means: "The alarm, case or order is not there, is in another state, or its orders are kept elsewhere.",
        why: "Nothing was changed; what was asked for stands in the audit trail.",
        wrong: "trimloop work verify TLW-3QH7K0M2B9XE-1     (while the fault is there)",
        right: "trimloop work list                          (shows keys and states)",
    }
    WORK_READ = "TL0802" {
        title: "work.db cannot be read",
        means: "The file with alarms, cases and work orders is damaged, or of another version.",
        why: "Orders that are misread would be made twice, or not at all.",
        wrong: "a work.db that was edited by hand",
        right: "restore work.db from a backup, or move it away: open faults are told anew",
    }
    WORK_SETTING = "TL0805" {
        title: "[work] cannot be used",
        means: "A setting of [work] does not fit, or the file with people that it names has mistakes.",
        why: "Orders would name the wrong asset or person, or findings would be counted the wrong way round.",
        wrong: "[work]\ncodes = { NFF = \"nothing\" }",
        right: "[work]\ncodes = { NFF = \"no_fault_found\" }",
    }
    NOTIFY_SETTING = "TL0806" {
        title: "[notify] cannot be used",
        means: "A setting of a channel that tells people of alarms or work orders does not fit, is \
                missing, or names a channel that is not there.",
        why: "An alarm that is told to nobody, or at a wrong hour, waits until somebody looks.",
        wrong: "[notify.shift]\n        to = \"mail\"\n        quiet = [\"10 pm\"]",
        right: "[notify.shift]\n        to = \"mail\"\n        server = \"smtp.plant.example\"\n        \
                from = \"trimloop@plant.example\"\n        recipients = [\"shift@plant.example\"]\n        \
                priority = 2\n        quiet = [\"22:00-06:00\"]",
    }
    LEARN_FILE = "TL0520" {
        title: "a table cannot be learnt from",
        means: "The file cannot be read, has no titles, rows of different length, or other columns than \
                the first file.",
        why: "A column that was taken for another would be learnt as if it were right.",
        wrong: "12.1,80.5              (numbers in the first line)",
        right: "melt_temp [degC],hold_pressure [bar]",
    }
    LEARN_CELL = "TL0521" {
        title: "a cell is no number",
        means: "In a column of numbers a cell holds text that is none and that does not stand for \
                nothing, as NaN, NA and an empty cell do.",
        why: "Dropping it unseen could drop the rows that matter.",
        wrong: "12.1,8O.5",
        right: "12.1,80.5",
    }
    LEARN_NO_ROWS = "TL0522" {
        title: "no usable row",
        means: "The files hold titles only, or in every row a value is missing.",
        why: "An empty result would look like a run without an alarm.",
        wrong: "trimloop model score --model m --data titles-only.csv",
        right: "trimloop model score --model m --data today.csv",
    }
    LEARN_COLUMNS = "TL0523" {
        title: "a column is missing",
        means: "The model, or an option, needs a column that the files do not have.",
        why: "A model cannot be scored without all of its inputs.",
        wrong: "--label qualty",
        right: "--label quality",
    }
    LEARN_UNIT = "TL0524" {
        title: "a column is in another unit than the model's",
        means: "The title or the line of units gives a unit in which the model was not trained.",
        why: "Its numbers mean nothing in another unit.",
        wrong: "hold_pressure [MPa]      (trained on bar)",
        right: "hold_pressure [bar]",
    }
    LEARN_LABEL = "TL0525" {
        title: "labels that nothing can be learnt from",
        means: "No row has a label, all have the same, or almost every row has one of its own.",
        why: "What is always the same cannot be told apart.",
        wrong: "quality\n        ok\n        ok",
        right: "quality\n        ok\n        short",
    }
    LEARN_TRAIN = "TL0526" {
        title: "the model cannot be fitted to these rows",
        means: "There are too few rows, no column that changes, or columns that repeat one another.",
        why: "Numbers would come out, but they would not hold on fresh rows.",
        wrong: "(3 rows)",
        right: "(a few hundred rows, the longer the better)",
    }
    LEARN_OPTION = "TL0527" {
        title: "an option of model makes no sense",
        means: "It is out of its range, is missing for this kind of model, or contradicts another.",
        why: "A model of something else than was meant is worse than none.",
        wrong: "trimloop model train --kind regression --data a.csv --out m",
        right: "trimloop model train --kind regression --label weight --data a.csv --out m",
    }
    MODEL_STATE = "TL0528" {
        title: "a model is not in the state for that",
        means: "A model comes into force step by step: backtested, beside the champion, approved, then \
                promoted.",
        why: "A model that nobody has tried must not decide anything.",
        wrong: "trimloop model promote models/press-r2      (TRAINED)",
        right: "trimloop model backtest models/press-r2 --data later.csv",
    }
    MODEL_GATE = "TL0529" {
        title: "a model did not pass its backtest",
        means: "On rows it was not trained on it broke a gate; the lines above say which.",
        why: "What does not hold on later rows will not hold on the machine.",
        wrong: "(false alarms 6 % where 1 % was asked for)",
        right: "(more normal rows, or a calibration run, and train again)",
    }
    MODEL_LIFE = "TL0530" {
        title: "the state of a model does not follow from its steps",
        means: "lifecycle.json beside the model names a state that the steps in it do not lead to, a step \
                that is no way, or a backtest without its gates.",
        why: "A state that was written by hand would bring a model into force that nobody has tried.",
        wrong: "\"state\": \"approved\", \"steps\": []",
        right: "trimloop model backtest models/press-r2 --data later.csv",
    }
    MODEL_BARS = "TL0531" {
        title: "a loop rests on a model that is not in force",
        means: "A model that the loop feeds forward, whose signature its table looks at, or whose domain it \
                needs, is not ACTIVE. The loop stays in SHADOW; a running one is lowered to it.",
        why: "A model that nobody has tried, or that was taken out of force, must not move a setpoint.",
        wrong: "trimloop loop auto hold --reason trial      (press-r2 is SUSPENDED)",
        right: "trimloop model approve press-r2 --reason \"…\"      (then promote; then raise the loop)",
    }
    START_PLC = "TL0601" {
        title: "the cell could not be started",
        means: "The plan was refused, or a thread, file or certificate of the PLC link was not to be had.",
        why: "Nothing runs, and nothing is written.",
        wrong: "(a client certificate folder that may not be written)",
        right: "[paths]\n        data = \"/var/lib/trimloop\"",
    }
    CONFORM_LINK = "TL0611" {
        title: "the handshake blocks cannot be tested",
        means: "The PLC was not reached, the connection was lost, or its server shows no TL_Owner and \
                TL_Guard with all their members.",
        why: "A report about something that was not there would be worth nothing.",
        wrong: "trimloop plc conform opc.tcp://127.0.0.1:4855   (nothing listens there)",
        right: "trimloop simulate --handshake test              (then, beside it, the same)",
    }
    CONFORM_MODE = "TL0612" {
        title: "the handshake blocks are not in test mode",
        means: "A guard of the cell shows Test = FALSE, or a controller owns the cell. Nothing (more) was \
                written.",
        why: "The test sends wrong values on purpose; only a machine that ignores them may see them.",
        wrong: "trimloop plc conform URL      (in production)",
        right: "trimloop plc conform URL      (Test switched on by the PLC program, trimloop stopped)",
    }
    STORE_OPEN = "TL0701" {
        title: "the store cannot be used",
        means: "state.db or the journal could not be opened, locked or brought to disk.",
        why: "Without an audit trail nothing is written to the PLC.",
        wrong: "(two services on one data folder; a full disk)",
        right: "(stop the other service, or free the disk)",
    }
    INFLUX_SETTING = "TL0710" {
        title: "[influx] does not say where to send",
        means: "A setting of [influx] is missing, does not fit, or belongs to another dialect.",
        why: "History would be sent nowhere, or to a place that nobody meant.",
        wrong: "[influx]\n        url = \"http://10.0.0.7:8086\"\n        dialect = \"v1\"\n        bucket = \"plant\"",
        right: "[influx]\n        url = \"http://10.0.0.7:8086\"\n        dialect = \"v1\"\n        database = \"plant\"",
    }
    INFLUX_SECRET_SHOWN = "TL0711" {
        title: "a secret stands in the settings",
        means: "A token or password was written into trimloop.toml, a variable or an address.",
        why: "Settings are read by many, copied and logged; the value itself is not shown here.",
        wrong: "[influx]\n        token = \"…\"",
        right: "[influx]\n        token_file = \"influx-token\"      (a file of its own, mode 0600)",
    }
    CONNECTOR_UNKNOWN = "TL0712" {
        title: "there is no such connector",
        means: "The settings have no table for the connector that was named.",
        why: "Without its address nothing can be tested or sent.",
        wrong: "trimloop connector test influx     (no [influx] in trimloop.toml)",
        right: "[influx]\n        url = \"http://10.0.0.7:8086\"\n        dialect = \"v1\"\n        database = \"plant\"",
    }
    CONNECTOR_UNREACHABLE = "TL0713" {
        title: "the connector's server does not answer",
        means: "No connection, no answer in time, or the server says that it is overloaded.",
        why: "While it lasts, rows wait in the store and are sent later; the loops do not wait.",
        wrong: "trimloop connector test influx     (nothing listens at influx.url)",
        right: "(start the server, or correct influx.url; then test again)",
    }
    CONNECTOR_REFUSED = "TL0714" {
        title: "the connector's server refuses",
        means: "It does not know the user or token, the database or bucket, or not the request at all.",
        why: "A person must set this right; rows wait in the store meanwhile, none is dropped.",
        wrong: "(a token without the right to write; a database that was never created)",
        right: "(create the database or token on the server, then: trimloop connector test influx)",
    }
    CONNECTOR_NOT_STORED = "TL0715" {
        title: "the probe was taken but is not there",
        means: "The server acknowledged the probe line, and then does not show it.",
        why: "What is sent might be lost without a word.",
        wrong: "(the retention policy or another program removes what is written)",
        right: "(look at the server's own log, then: trimloop connector test influx)",
    }
    DEAD_LETTERS = "TL0716" {
        title: "dead letters cannot be sent again",
        means: "The folder dead/ below the data folder cannot be read or written.",
        why: "Lines that were refused stay there until they can be sent or are removed.",
        wrong: "trimloop connector resend influx   (as a user who may not read the data folder)",
        right: "sudo -u trimloop trimloop connector resend influx",
    }
    INFLUX_QUERY = "TL0717" {
        title: "InfluxDB gives no rows for this query",
        means: "The query is no InfluxQL, does more than ask, has too large an answer, or the answer is no \
                table that can be learnt from.",
        why: "A part of the rows would be taken for all of them.",
        wrong: "trimloop data audit --query 'SELEKT value FROM press'",
        right: "trimloop data audit --query 'SELECT mean(value) FROM press WHERE time > now() - 7d \
                GROUP BY time(1m), tag'",
    }
    LABELS = "TL0718" {
        title: "labels cannot be kept",
        means: "labels.db in the data folder cannot be used, or a label is given in another unit than it is \
                kept in.",
        why: "A correction in another unit would be learnt as if the part had changed.",
        wrong: "weight [kg]               (kept in g)",
        right: "weight [g]",
    }
    CMMS_SETTING = "TL0719" {
        title: "[cmms] does not say where work orders go",
        means: "A setting of [cmms] is missing, does not fit its product, or its preset has mistakes.",
        why: "Orders would go nowhere, or to a place that nobody meant.",
        wrong: "[cmms]\n        kind = \"rest\"\n        url = \"https://helpdesk.example\"",
        right: "[cmms]\n        kind = \"rest\"\n        preset = \"django-helpdesk\"\n        \
                url = \"https://helpdesk.example\"",
    }
    JOURNAL_READ = "TL0730" {
        title: "there is no journal to read",
        means: "The folder or file is missing, may not be read, or holds no journal-NNNNNNNN.tlj.",
        why: "Nothing can be replayed or checked.",
        wrong: "trimloop replay recipes",
        right: "trimloop replay /var/lib/trimloop/journal",
    }
    JOURNAL_DAMAGED = "TL0731" {
        title: "the journal is not what was written",
        means: "A record does not fit its checksum, the hash chain, or the record before it. The report \
                says which file, record and byte.",
        why: "Nothing after that place can be trusted.",
        wrong: "(one changed bit on a disk)",
        right: "(the file from a backup; what is before the damage stays good)",
    }
    REPLAY_DIFFERS = "TL0732" {
        title: "a scan was decided otherwise",
        means: "The same scan led to other actions than those recorded: another version of trimloop, another \
                plan, or a mistake in trimloop.",
        why: "Replay proves that what is told about a decision is how it was made.",
        wrong: "trimloop replay          (with a later version that decides otherwise)",
        right: "trimloop replay          (with the version in plans/HASH/bundle.json)",
    }
    PLAN_NOT_KEPT = "TL0733" {
        title: "the plan of a journal cannot be used",
        means: "There is no plans/HASH beside the journal, or its files make another plan than its name says.",
        why: "Without recipe, PLC config and models nobody can decide the same.",
        wrong: "trimloop replay journal-00000001.tlj      (copied without the folder plans)",
        right: "trimloop replay journal                   (the folder with its plans)",
    }
    PLACE = "TL0734" {
        title: "no such place or stop",
        means: "A place is a scan (1200, 7-1200) or a UTC time; a stop is write, trip, event=CODE or bad=TAG.",
        why: "What is not understood is not guessed.",
        wrong: "trimloop replay --from yesterday",
        right: "trimloop replay --from 2026-11-22T21:00",
    }
    NO_RECORD = "TL0735" {
        title: "no such write, event or decision",
        means: "The data folder has no record of this id or time.",
        why: "The answer says which ids there are.",
        wrong: "trimloop why 7-9999",
        right: "trimloop why 7-12            (ids stand in `trimloop status` and its events)",
    }
    SIMULATOR = "TL0602" {
        title: "the simulator could not start or go on",
        means: "Its port is taken, or its OPC UA server did not start.",
        why: "There is nothing to connect to.",
        wrong: "trimloop simulate --port 4855      (while another one runs)",
        right: "trimloop simulate --port 0         (any free port)",
    }
    CERTIFICATE = "TL0603" {
        title: "certificate cannot be used",
        means: "A certificate or key of the OPC UA link is missing, unreadable, or not the one meant.",
        why: "A link that nobody can vouch for is not opened.",
        wrong: "trimloop plc cert trust 00        (no such certificate)",
        right: "trimloop plc cert show            (lists them with their SHA-256)",
    }
    PLC_UNREACHABLE = "TL0640" {
        title: "the PLC cannot be reached",
        means: "Nothing answers at the address, or it stopped answering.",
        why: "Without an answer nothing is known of the PLC.",
        wrong: "trimloop plc browse opc.tcp://127.0.0.1:4840      (nothing listens there)",
        right: "trimloop plc discover opc.tcp://127.0.0.1:4855    (what listens, and how)",
    }
    PLC_REFUSED = "TL0641" {
        title: "the PLC refuses who we are",
        means: "The server does not take this user, this password or an anonymous client.",
        why: "Trying again would lock accounts on some PLCs.",
        wrong: "(an anonymous client where the PLC wants a user)",
        right: "(the user and security of the PLC config, as the PLC's administrator set them)",
    }
    PLC_BLOCKED = "TL0642" {
        title: "a person must set the connection right",
        means: "Security policy, certificate or kind of user do not fit what the server offers.",
        why: "No number of attempts would change that.",
        wrong: "(a server that offers encrypted endpoints only)",
        right: "trimloop plc discover URL      (which policies, modes and users it takes)",
    }
    NODE_NOT_FOUND = "TL0643" {
        title: "the server has no such node",
        means: "The address leads nowhere, or to something that is no variable.",
        why: "Addresses change with a download; nearly right is another node.",
        wrong: "trimloop plc browse --from Objects/press:Pres4",
        right: "trimloop plc browse --filter '*Press*'",
    }
    TAG_FILE = "TL0644" {
        title: "the file for the tags cannot be written",
        means: "It is there already, its folder is not, or its name cannot be that of a PLC config.",
        why: "A PLC config that somebody has worked on is not overwritten unasked.",
        wrong: "--write-tags plc-configs/press-4.toml      (there already)",
        right: "--write-tags plc-configs/press-5.toml, or --force",
    }
    TAG_ROW = "TL0645" {
        title: "a row of a tag list that cannot be used",
        means: "A cell of the row is missing or says something that no node can have.",
        why: "A tag that is left out unnoticed is missing when it is needed.",
        wrong: "MeltTemp,DB1.DBD0,Floot",
        right: "MeltTemp,DB1.DBD0,Float",
    }
    TAG_COLUMNS = "TL0646" {
        title: "a tag list without the columns that are needed",
        means: "The first line must name the columns; at least a name or an address is needed.",
        why: "Which column is the address cannot be guessed.",
        wrong: "MeltTemp;DB1.MeltTemp;Real      (no line with the names of the columns)",
        right: "name;id;type",
    }
    NO_SUCH_NAME = "TL0720" {
        title: "the store knows no such name",
        means: "No tag, feature, model, loop, setpoint or event of this name was ever recorded here.",
        why: "A column that silently stays empty would look like a machine that stood still.",
        wrong: "trimloop query melt_tmp",
        right: "trimloop query melt_temp      (or 'melt_*')",
    }
    NO_ROWS = "TL0721" {
        title: "there are no rows in this range",
        means: "The store has no rows of this kind between the times that were asked for.",
        why: "An empty file would look like an export that worked.",
        wrong: "trimloop query melt_temp --from 1999-01-01 --to 1999-01-02",
        right: "trimloop query melt_temp --last 1d",
    }
    SELECTION = "TL0722" {
        title: "the selection makes no sense",
        means: "A time cannot be read, or an option does not go with the kind of rows.",
        why: "Rows of another time or shape than was meant are worse than none.",
        wrong: "trimloop export events --every 1m --out events.csv",
        right: "trimloop export samples --every 1m --out samples.csv",
    }
    EXPORT_FILE = "TL0723" {
        title: "the file cannot be written",
        means: "It is there already, its folder is not, its name ends in no known format, or the disk is full.",
        why: "What somebody has saved is not overwritten unasked.",
        wrong: "trimloop export --out week.csv      (there already)",
        right: "trimloop export --out week-2.csv, or --force",
    }
    HISTORY_READ = "TL0724" {
        title: "the history cannot be read",
        means: "There is no store in the data folder, or one of its files may not be read or is damaged.",
        why: "Rows with an unknown hole in them would be taken for all.",
        wrong: "trimloop query melt_temp                      (in a folder without data/)",
        right: "trimloop query melt_temp --config my-cell     (the folder with trimloop.toml)",
    }
    EXPORT_FEATURE = "TL0725" {
        title: "this build cannot write that format",
        means: "XLSX and Parquet are cargo features, and this trimloop was built without.",
        why: "Each brings a dozen crates that a cell does not need to run.",
        wrong: "trimloop export --out week.xlsx      (a build without the feature)",
        right: "cargo build --release --features xlsx,parquet",
    }
    NO_BACKFILL = "TL0726" {
        title: "nothing can be read from the PLC's history",
        means: "There is no such PLC in the recipe, or its PLC config switches backfilling off.",
        why: "A gap that nobody reads stays.",
        wrong: "[link]\n        backfill = \"0 s\"",
        right: "[link]\n        backfill = \"24 h\"",
    }
    BACKTEST_TAGS = "TL0740" {
        title: "the data lack tags that the recipe decides on",
        means: "A tag of the recipe that cuts parts, feeds a feature, an interlock or a setpoint is not in \
                the history or file.",
        why: "Without it the recipe would hold all the time, which would look like a quiet recipe.",
        wrong: "trimloop backtest housing-lid --data only-melt-temp.csv",
        right: "trimloop export --out all.csv && trimloop backtest housing-lid --data all.csv",
    }
    BACKTEST_UNIT = "TL0741" {
        title: "a tag was recorded in another unit",
        means: "The unit that stands beside the recorded values is not that of the recipe.",
        why: "Limits in bar on values in MPa find nothing, or everything.",
        wrong: "[tag.melt_temp]\n        unit = \"K\"          (recorded in degC)",
        right: "[tag.melt_temp]\n        unit = \"degC\"",
    }
    BACKTEST_FILE = "TL0742" {
        title: "the file of samples cannot be used",
        means: "It cannot be read, holds something else than samples, is not in the order of time, or \
                overlaps another one.",
        why: "Decisions depend on what came first; guessing an order would invent them.",
        wrong: "trimloop backtest housing-lid --data minutes.csv        (exported with --every 1m)",
        right: "trimloop export --out day.csv && trimloop backtest housing-lid --data day.csv",
    }
    GATE_SYNTAX = "TL0743" {
        title: "the gate file cannot be read",
        means: "It is missing, may not be read, or breaks the rules of TOML at the marked place.",
        why: "A gate that was not read would pass everything.",
        wrong: "min_detected =",
        right: "min_detected = 0.6",
    }
    GATE_KEY = "TL0744" {
        title: "unknown gate",
        means: "No gate has this name, or the recipe has no loop of this name.",
        why: "A misspelt limit would silently not be held.",
        wrong: "max_fales_alarms_per_1000 = 2",
        right: "max_false_alarms_per_1000 = 2",
    }
    GATE_VALUE = "TL0745" {
        title: "the gate has a value that does not fit",
        means: "The limit is no number, or outside what it can be; shares are from 0 to 1.",
        why: "A limit of 60 where 0.6 was meant could never be kept, or never be broken.",
        wrong: "min_detected = 60",
        right: "min_detected = 0.6",
    }
    GATE_NOT_PASSED = "TL0746" {
        title: "a gate was not passed",
        means: "The backtest found more, or less, than the gate file allows; the lines above say what. A \
                limit that nothing in the data can judge is not passed either.",
        why: "Gates are there to keep such a recipe off the machine.",
        wrong: "(a recipe with 4 false alarms per 1000 good parts, and a limit of 2)",
        right: "(a better recipe; or, with a reason, another limit)",
    }
    NO_SERVICE = "TL0901" {
        title: "no service answers",
        means: "Nothing listens on the control socket.",
        why: "status and loop ask the running service; they know nothing by themselves.",
        wrong: "trimloop status                    (before trimloop run)",
        right: "trimloop run --config .            (in another terminal)",
    }
    NOT_PERMITTED = "TL0902" {
        title: "not permitted",
        means: "Raising a loop to ADVISORY or AUTO takes the OS user who runs the service.",
        why: "Until accounts exist, that user is the approver.",
        wrong: "trimloop loop auto weight          (as another user)",
        right: "sudo -u trimloop trimloop loop auto weight --yes --reason \"trial passed\"",
    }
    NO_AUDIT = "TL0903" {
        title: "the audit trail cannot be written",
        means: "The order was not given, because nobody could later see who gave it.",
        why: "No audit, no write.",
        wrong: "(a full disk under the data folder)",
        right: "(free space, then ask again)",
    }
    CHAIN_BROKEN = "TL0930" {
        title: "a chain of records is not whole",
        means: "An entry of the audit trail, the write ledger, the journal or the signed heads was changed, \
                removed or cut off. The report names the first.",
        why: "Records that can be changed unseen prove nothing.",
        wrong: "(an UPDATE in state.db)",
        right: "(the folder from a backup; the heads say up to where it is whole)",
    }
    AUDIT_KEY = "TL0931" {
        title: "the key of the signed heads cannot be used",
        means: "The key file is missing, unreadable, open to others, or not an Ed25519 key.",
        why: "A head that nobody can vouch for proves nothing.",
        wrong: "chmod 644 keys/audit.key",
        right: "chmod 600 keys/audit.key",
    }
    NO_SUCH_LOOP = "TL0904" {
        title: "no such loop",
        means: "The running recipe has no loop of this name.",
        why: "An order must name what it moves.",
        wrong: "trimloop loop hold wieght --reason door",
        right: "trimloop loop hold weight --reason door",
    }
    ORDER_REFUSED = "TL0905" {
        title: "the cell refused the order",
        means: "The loop is tripped, the recipe does not allow that mode, or the proposal is gone.",
        why: "The guard's word is final; `trimloop status` says what holds it.",
        wrong: "trimloop loop auto weight          (while it is tripped)",
        right: "trimloop loop reset weight --reason \"cause found\"",
    }
    REQUEST = "TL0906" {
        title: "the request was not understood",
        means: "The service did not know this request, or it lacked a reason.",
        why: "Orders are audited with their reason.",
        wrong: "trimloop loop hold weight",
        right: "trimloop loop hold weight --reason \"door open\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No code means two things, in any crate.
    #[test]
    fn codes_are_unique() {
        let mut all: Vec<&str> = all_codes().map(|code| code.code).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    /// A cause is said once, even when the outer error already quotes it.
    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open x")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "cannot open x: disk full");
    }
}
