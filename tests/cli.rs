//! The built command, as people and scripts use it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of its own under the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trimloop-cli-{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The command in a folder, with no variable of ours set.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
    command.current_dir(dir).args(args).env("NO_COLOR", "1").env("XDG_RUNTIME_DIR", dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIMLOOP_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one JSON object on stdout.
fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", out(output), err(output)));
    assert!(value.is_object());
    for key in ["schema", "version", "generated", "ok"] {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
    value
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shipped files pass, by the exit code and in both formats.
#[test]
fn check_passes_on_the_shipped_files() {
    let output = run(root(), &["check"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("recipes/housing-lid.toml"));
    assert!(!out(&output).contains('\x1b'), "colour without a terminal");
    let object = json(&run(root(), &["check", "--format", "json"]));
    assert_eq!(object["schema"], "trimloop.check/1");
    assert_eq!(object["ok"], true);
    assert!(object["tests"].as_u64().unwrap() >= 5);
}

/// `check` says in which state the models are, and warns where a loop that may act rests on one that
/// is not in force; a state that was written by hand is an error.
#[test]
fn check_tells_models_that_are_not_in_force() {
    let scratch = Scratch::new("standing");
    let dir = &scratch.0;
    let model = "models/weight-sensor-r1/model.tlm";
    for file in [
        "recipes/housing-lid.toml",
        "plc-configs/press-4.toml",
        "models/upstream-r1/model.tlm",
        model,
    ] {
        scratch.write(file, "");
        std::fs::copy(root().join(file), dir.join(file)).unwrap();
    }
    let output = run(dir, &["check", "--deny-warnings"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("weight-sensor-r1 (not managed)"), "{}", out(&output));

    let artifact = std::fs::read(dir.join(model)).unwrap();
    let artifact = trimloop_recipe::artifact::Artifact::read(&artifact).unwrap();
    let hash: String = artifact.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let life = |state: &str| {
        format!(
            "{{\"schema\":\"trimloop.lifecycle/1\",\"model\":\"{hash}\",\"state\":\"{state}\",\
             \"steps\":[]}}"
        )
    };
    scratch.write("models/weight-sensor-r1/lifecycle.json", &life("trained"));
    let output = run(dir, &["check"]);
    let shown = err(&output);
    assert_eq!(code(&output), 0, "{shown}");
    for part in [
        "warning[TL0531]: model \"weight-sensor\" is TRAINED",
        "--> recipes/housing-lid.toml:224:",
        "in SHADOW: weight",
        "trimloop model backtest",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert!(out(&output).contains("weight-sensor-r1 (TRAINED)"), "{}", out(&output));
    assert_eq!(code(&run(dir, &["check", "--deny-warnings"])), 3);

    scratch.write("models/weight-sensor-r1/lifecycle.json", &life("active"));
    let output = run(dir, &["check"]);
    let shown = err(&output);
    assert_eq!(code(&output), 1, "{shown}");
    assert!(shown.contains("error[TL0531]") && shown.contains("steps lead to TRAINED"), "{shown}");
}

/// What `init` writes is checked without a word, and never overwritten.
#[test]
fn init_writes_what_check_accepts() {
    let scratch = Scratch::new("init");
    assert_eq!(code(&run(&scratch.0, &["init", "cell"])), 0);
    let output = run(&scratch.0, &["check", "--config", "cell", "--deny-warnings"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    // In the folder itself its settings are found, and say which recipe runs.
    let output = run(&scratch.0.join("cell"), &["run", "--dry-run"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("recipe starter r1"), "{}", out(&output));
    let output = run(&scratch.0, &["init", "cell"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("already has trimloop.toml"), "{}", err(&output));
}

/// A broken recipe gives exit 1 and the rendering with place, line, cause and code; a failing test
/// of a recipe too. All mistakes come together.
#[test]
fn a_broken_recipe_is_shown_with_its_line() {
    let scratch = Scratch::new("broken");
    assert_eq!(code(&run(&scratch.0, &["init", "."])), 0);
    let path = scratch.0.join("recipes/starter.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let broken = good
        .replace("tag  = \"injection_peak_pressure\"", "tag  = \"injection_peak_presure\"")
        .replace("step     = \"4 bar\"", "step     = \"4 degC\"");
    assert_ne!(good, broken);
    std::fs::write(&path, broken).unwrap();
    let output = run(&scratch.0, &["check"]);
    assert_eq!(code(&output), 1);
    let shown = err(&output);
    for part in ["error[TL02", "--> recipes/starter.toml:", "injection_peak_presure", "4 degC"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    let object = json(&run(&scratch.0, &["check", "--format", "json"]));
    assert_eq!(object["ok"], false);
    assert!(object["diagnostics"].as_array().unwrap().len() >= 2);
    assert!(object["diagnostics"][0]["line"].as_u64().unwrap() > 1);

    let failing = good.replace("signature = \"stiff_melt\"", "no_signature = \"stiff_melt\"");
    std::fs::write(&path, failing).unwrap();
    let output = run(&scratch.0, &["check"]);
    assert_eq!(code(&output), 1);
    let shown = err(&output);
    for part in ["error[TL0254]", "a thick lot is seen", "it is on at the end"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
}

/// Warnings pass, unless they are denied.
#[test]
fn denied_warnings_give_exit_3() {
    let scratch = Scratch::new("warn");
    assert_eq!(code(&run(&scratch.0, &["init", "."])), 0);
    let path = scratch.0.join("recipes/starter.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("plc_low") && !line.starts_with("plc_high"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, without).unwrap();
    let output = run(&scratch.0, &["check"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(err(&output).contains("warning[TL"), "{}", err(&output));
    assert_eq!(code(&run(&scratch.0, &["check", "--deny-warnings"])), 3);
    let mut twin = command(&scratch.0, &["check"]);
    assert_eq!(code(&twin.env("TRIMLOOP_DENY_WARNINGS", "1").output().unwrap()), 3);
}

/// Settings mistakes: exit 2, file, key, why, what next; the environment too.
#[test]
fn settings_mistakes_are_usage_errors() {
    let scratch = Scratch::new("settings");
    scratch.write("trimloop.toml", "[log]\nlevle = \"info\"\n");
    let output = run(&scratch.0, &["check"]);
    assert_eq!(code(&output), 2);
    for part in ["TL0103", "trimloop.toml:2:1", "log.levle", "did you mean"] {
        assert!(err(&output).contains(part), "{part} is missing in\n{}", err(&output));
    }
    scratch.write("trimloop.toml", "name = \"cell-1\"\n");
    let mut with = command(&scratch.0, &["check"]);
    let output = with.env("TRIMLOOP_LOG__LEVEL", "loud").output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("TRIMLOOP_LOG__LEVEL=loud"), "{}", err(&output));
    let output = run(&scratch.0, &["check", "--config", "nowhere", "--format", "json"]);
    assert_eq!(code(&output), 2);
    let object = json(&output);
    assert_eq!(object["schema"], "trimloop.error/1");
    assert_eq!(object["diagnostics"][0]["code"], "TL0101");
}

/// Wrong use gives exit 2; without a service the verbs that ask it give 4, in JSON as well.
#[test]
fn usage_is_2_and_no_service_is_4() {
    let scratch = Scratch::new("usage");
    for args in [&["fly"][..], &["check", "--fly"], &["loop", "auto"], &[], &["explain"]] {
        let output = run(&scratch.0, args);
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
    }
    let output = run(&scratch.0, &["loop", "hold", "weight"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("reason"), "{}", err(&output));
    let output = run(&scratch.0, &["status"]);
    assert_eq!(code(&output), 4);
    assert!(err(&output).contains("TL0901"), "{}", err(&output));
    let output =
        run(&scratch.0, &["loop", "auto", "weight", "--yes", "--reason", "x", "--format", "json"]);
    assert_eq!(code(&output), 4);
    assert_eq!(json(&output)["error"]["code"], "TL0901");
    // An order that gives authority is confirmed by a person or by --yes.
    let output = run(&scratch.0, &["loop", "auto", "weight", "--reason", "x"]);
    assert!([2, 4].contains(&code(&output)));
}

/// Codes are explained, whatever their letters; an unknown one is wrong use.
#[test]
fn codes_are_explained() {
    for asked in ["TL0254", "tl0104", "TL0901"] {
        let output = run(root(), &["explain", asked]);
        assert_eq!(code(&output), 0, "{asked}");
        assert!(out(&output).starts_with(&asked.to_uppercase()));
    }
    let output = run(root(), &["explain", "TL9999"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("TL9999"));
    assert!(out(&run(root(), &["explain", "--list"])).lines().count() > 40);
}

/// Schemas are the ones under schema/, and JSON.
#[test]
fn schemas_are_printed() {
    for of in ["recipe", "plc-config"] {
        let output = run(root(), &["schema", of]);
        assert_eq!(code(&output), 0);
        let shipped = std::fs::read_to_string(root().join(format!("schema/{of}.schema.json")));
        assert_eq!(out(&output), shipped.unwrap(), "schema {of}");
    }
}

/// At least 14 scenarios, each with name, title and faults.
#[test]
fn scenarios_are_listed() {
    let object = json(&run(root(), &["simulate", "--list", "--format", "json"]));
    assert_eq!(object["schema"], "trimloop.scenarios/1");
    let scenarios = object["scenarios"].as_array().unwrap();
    assert!(scenarios.len() >= 14);
    for scenario in scenarios {
        assert!(scenario["name"].is_string() && scenario["title"].is_string());
        assert!(scenario["faults"].is_array());
    }
    let output = run(root(), &["simulate", "--scenario", "waer"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("wear"), "{}", err(&output));
}

/// The simulator alone makes its parts and says what came of them.
#[test]
fn the_simulator_makes_its_parts() {
    let scratch = Scratch::new("parts");
    let args = ["simulate", "--parts", "30", "--speed", "max", "--port", "0", "--format", "json"];
    let output = run(&scratch.0, &args);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let object = json(&output);
    assert_eq!(object["parts"], 30);
    assert_eq!(object["finished"], true);
}

/// What the simulator does wrong is listed, switched while it runs, and scheduled by part; what
/// cannot be had says what it takes.
#[test]
fn faults_are_switched() {
    let scratch = Scratch::new("faults");
    let dir = &scratch.0;
    let object = json(&run(dir, &["fault", "list", "--port", "1", "--format", "json"]));
    let faults = object["faults"].as_array().unwrap();
    assert_eq!(faults.len(), trimloop_simulator::CATALOGUE.len());
    assert_eq!(
        (&object["schema"], &object["simulator"]),
        (&"trimloop.faults/1".into(), &false.into())
    );
    assert!(faults.iter().all(|fault| fault["on"] == false && fault["must"].is_string()));
    for (args, exit, expect) in [
        (&["fault", "on", "half-open", "--port", "1"][..], 4, "no simulator answers on port 1"),
        (&["fault", "on", "half-opne"], 2, "half-open"),
        (&["fault", "on"], 2, "which fault?"),
        (&["fault", "off", "half-open", "--for", "5s"], 2, "--for goes with"),
        (&["fault", "on", "server-restarted", "--for", "5s"], 2, "happens once"),
        (&["simulate", "--fault", "write-late@9..3"], 2, "no range of parts"),
        (&["simulate", "--fault", "write-late@0"], 2, "no range of parts"),
        (&["simulate", "--fault", "batch-partial", "--port", "0"], 4, "the handshake blocks"),
    ] {
        let output = run(dir, args);
        assert_eq!(code(&output), exit, "{args:?}: {}", err(&output));
        assert!(err(&output).contains(expect), "{args:?}: {}", err(&output));
    }

    let story = ["simulate", "--speed", "200", "--port", "0", "--fault", "write-late@1..1000000"];
    let mut simulator = Running::start(dir, &story);
    let line = simulator.says("opc.tcp://");
    let url = line.split_whitespace().find(|word| word.starts_with("opc.tcp://")).unwrap();
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let on = || {
        let list = run(dir, &["fault", "list", "--port", port, "--format", "json"]);
        let faults = json(&list)["faults"].as_array().unwrap().clone();
        let names = faults.into_iter().filter(|fault| fault["on"] == true);
        names.map(|fault| fault["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ask = |args: &[&str]| {
        let output = run(dir, &[&["fault"], args, &["--port", port]].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        out(&output)
    };
    let said = ask(&["on", "write-ignored"]);
    assert!(said.starts_with("write-ignored is on: A write is answered Good"), "{said}");
    assert_eq!(on(), ["write-ignored", "write-late"], "switched and scheduled");
    assert!(ask(&["on", "half-open", "--for", "5min"]).contains("is on for 300 s"));
    assert!(ask(&["list"]).contains("half-open            ON"), "{}", ask(&["list"]));
    ask(&["off", "half-open"]);
    assert_eq!(ask(&["off", "write-ignored"]), "write-ignored is off\n");
    assert!(ask(&["on", "server-restarted"]).contains("happened"));
    assert_eq!(on(), ["write-late"]);
    let output = run(dir, &["fault", "on", "certificate-changed", "--port", port]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("needs encrypted endpoints"), "{}", err(&output));
    assert_eq!(simulator.interrupt(), Some(130));
    let left = std::fs::read_dir(dir.join("trimloop-simulator")).unwrap().count();
    assert_eq!(left, 0, "a socket was left");
}

/// Completions name every command.
#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&run(root(), &["completions", shell]));
        for verb in ["simulate", "explain", "status"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

/// Examples in the long help that need no running service work as they stand.
#[test]
fn examples_of_the_help_work() {
    let scratch = Scratch::new("examples");
    let top = out(&run(root(), &["--help"]));
    assert!(top.contains("Examples:"), "{top}");
    let mut examples = Vec::new();
    for verb in ["", "init", "check", "explain", "schema", "completions"] {
        let args: Vec<&str> = [verb, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let help = out(&run(root(), &args));
        let tail = help.split("Examples:").nth(1).unwrap_or_default().to_owned();
        for line in tail.lines().take_while(|line| !line.trim().is_empty() || line.is_empty()) {
            let Some(rest) = line.trim().strip_prefix("trimloop ") else { continue };
            // Two spaces or more begin a remark; `>` a redirection.
            let words = rest.split("  ").next().unwrap_or(rest);
            let words = words.split(" > ").next().unwrap_or(words);
            examples.push(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        }
    }
    assert!(examples.len() >= 12, "{examples:?}");
    assert_eq!(code(&run(&scratch.0, &["init", "."])), 0);
    // The help names the shipped recipe; here another stands in for it.
    let starter = std::fs::read_to_string(scratch.0.join("recipes/starter.toml")).unwrap();
    let lid = starter.replace("= \"starter\"", "= \"housing-lid\"");
    scratch.write("recipes/housing-lid.toml", &lid);
    let mut made = false;
    for words in examples {
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        if args.first() == Some(&"init") {
            if made {
                continue;
            }
            made = true;
        }
        let output = run(&scratch.0, &args);
        assert_eq!(code(&output), 0, "{args:?}: {}{}", out(&output), err(&output));
    }
}

/// A started command that is ended with the test.
struct Running(std::process::Child);

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = command(dir, args);
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Reads what it says until a line has `word`; the rest is read to nowhere.
    fn says(&mut self, word: &str) -> String {
        use std::io::{BufRead, BufReader};
        let mut lines = BufReader::new(self.0.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if line.contains(word) {
                std::thread::spawn(move || lines.for_each(drop));
                return line;
            }
            seen.push(line);
        }
        panic!("{word:?} was never said: {seen:#?}");
    }

    /// Ctrl-C, and its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks the service until `fits`, at most 3000 times.
fn status_until(dir: &Path, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ask in 0..3000 {
        last = json(&run(dir, &["status", "--format", "json"]));
        if fits(&last) {
            return last;
        }
    }
    panic!("the status never fitted: {last:#}");
}

/// The starter against the simulator, as its help says: SHADOW at the start, raised by the user who
/// runs it, taken back by hand; every order in the audit trail; Ctrl-C ends it with 130.
#[test]
fn the_service_runs_the_starter_and_takes_orders() {
    let scratch = Scratch::new("service");
    let dir = &scratch.0;
    assert_eq!(code(&run(dir, &["init", "."])), 0);
    let mut simulator = Running::start(dir, &["simulate", "--speed", "200", "--port", "0"]);
    let line = simulator.says("opc.tcp://");
    let url = line.split_whitespace().find(|word| word.starts_with("opc.tcp://")).unwrap();
    let path = dir.join("plc-configs/press-4.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("opc.tcp://127.0.0.1:4855", url)).unwrap();

    let mut service = Running::start(dir, &["run"]);
    service.says("runs recipe starter");
    let status = status_until(dir, |s| s["plcs"][0]["up"] == true && s["part"].as_i64() > Some(0));
    assert_eq!(status["schema"], "trimloop.status/2");
    assert_eq!(status["loops"][0]["mode"], "shadow");
    assert_eq!(status["records_sound"], true);
    let table = out(&run(dir, &["status"]));
    assert!(table.contains("SHADOW") && table.contains("weight"), "{table}");
    let metrics = out(&run(dir, &["status", "--prometheus"]));
    assert!(metrics.lines().any(|l| l == "trimloop_loop_mode{loop=\"weight\",mode=\"shadow\"} 1"));

    // A second service on the same data is refused, and says so.
    let second = run(dir, &["run"]);
    assert_eq!(code(&second), 4, "{}", err(&second));
    assert!(err(&second).contains("TL0701"), "{}", err(&second));

    // An order given for another cell never reaches this one, even on its very socket.
    let other = Scratch::new("service-of-another");
    assert_eq!(code(&run(&other.0, &["init", "."])), 0);
    std::fs::create_dir_all(other.0.join("data")).unwrap();
    let socket = std::fs::read(dir.join("data/control.path")).unwrap();
    std::fs::write(other.0.join("data/control.path"), socket).unwrap();
    let wrong = run(&other.0, &["loop", "auto", "weight", "--yes", "--reason", "not this one"]);
    assert_eq!(code(&wrong), 4, "{}", err(&wrong));
    assert!(err(&wrong).contains("the service here is that of"), "{}", err(&wrong));

    let raise = ["loop", "auto", "weight", "--yes", "--reason", "trial", "--format", "json"];
    let object = json(&run(dir, &raise));
    assert_eq!((&object["schema"], &object["ok"]), (&"trimloop.loop/1".into(), &true.into()));
    status_until(dir, |s| s["loops"][0]["asked"] == "auto");
    let output = run(dir, &["loop", "hold", "wieght", "--reason", "door"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("TL0904"), "{}", err(&output));
    let output = run(dir, &["loop", "manual", "weight", "--reason", "mould change"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("MANUAL"), "{}", out(&output));
    status_until(dir, |s| s["loops"][0]["asked"] == "shadow");

    assert_eq!(service.interrupt(), Some(130));
    assert_eq!(std::fs::read_dir(dir.join("trimloop")).unwrap().count(), 0, "a socket was left");
    let state = rusqlite::Connection::open(dir.join("data/state.db")).unwrap();
    let entries = trimloop::store::verify_audit(&state).unwrap().unwrap();
    assert!(entries >= 6, "{entries}");
    trimloop::journal::verify(&dir.join("data/journal")).unwrap().unwrap();
    assert_eq!(simulator.interrupt(), Some(130));
}

/// Certificates from the first one to its renewal, and what goes wrong on the way.
#[test]
fn plc_certificates_are_kept() {
    let scratch = Scratch::new("cert");
    scratch.write("trimloop.toml", "name = \"cell-1\"\n");
    let cert =
        |args: &[&str]| run(&scratch.0, &[&["plc", "cert"], args, &["--format", "json"]].concat());
    let shown = |place: &str| {
        let all = json(&cert(&["show"]))["certificates"].clone();
        all.as_array().unwrap().iter().find(|row| row["place"] == place).cloned()
    };
    assert!(out(&run(&scratch.0, &["plc", "cert", "show"])).contains("plc cert create"));
    assert_eq!(code(&cert(&["create"])), 0);
    let own = shown("own").unwrap();
    assert_eq!(own["application_uri"], "urn:trimloop:cell-1");
    assert_eq!((&own["key_bits"], &own["days_left"]), (&2048.into(), &824.into()));
    let again = cert(&["create"]);
    assert_eq!(code(&again), 1);
    assert!(json(&again)["error"].to_string().contains("plc cert renew"), "{}", out(&again));
    // The next one waits until it is put in force.
    assert_eq!(code(&cert(&["renew"])), 0);
    let next = shown("next").unwrap();
    assert_ne!(next["sha256"], own["sha256"]);
    assert_eq!(shown("own").unwrap()["sha256"], own["sha256"]);
    assert_eq!(code(&cert(&["renew", "--activate"])), 0);
    assert!(shown("next").is_none());
    // Servers: from a file, by fingerprint, and one that nobody knows.
    let file = next["file"].as_str().unwrap().replace("next", "cert");
    assert_eq!(code(&cert(&["trust", &file])), 0);
    let print = shown("trusted").unwrap()["sha256"].as_str().unwrap().to_owned();
    assert_eq!(code(&cert(&["reject", &print[..8]])), 0);
    assert!(shown("trusted").is_none() && shown("rejected").is_some());
    let unknown = cert(&["trust", "00"]);
    assert_eq!(code(&unknown), 1);
    assert!(json(&unknown)["error"].to_string().contains("TL0603"));
    let silent = cert(&["show", "--server", "opc.tcp://127.0.0.1:1"]);
    assert_eq!(code(&silent), 4, "{}", out(&silent));
}
