//! Servers that take InfluxDB's line protocol, out of Debian's packages: InfluxDB 1.6 for v1,
//! VictoriaMetrics behind vmauth for v2 with a token. The packages are unpacked under
//! `<target dir>/foreign/`, not installed, so no service starts.
#![allow(dead_code, reason = "each test binary uses a part")]
#![expect(clippy::panic, reason = "a failed expectation about a server fails its test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::foreign::{Skip, environments, make_once, new_scratch, run};

/// The packages, and a program of each.
const PACKAGES: [&str; 2] = ["influxdb", "victoria-metrics"];
/// From spawn to the first answer.
const READY_LOOKS: u32 = 1200;
const LOOK: Duration = Duration::from_millis(50);
/// What vmauth asks for.
pub const TOKEN: &str = "secret-1";
pub const DATABASE: &str = "trimloop";

/// The folder with the programs.
fn programs() -> Result<PathBuf, Skip> {
    static MADE: OnceLock<Result<PathBuf, Skip>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = environments().join("influx");
        make_once(&folder, &PACKAGES.join(" "), || {
            let download =
                || run(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&folder));
            // Without lists of packages nothing is found; only root may fetch them.
            download().or_else(|_| {
                run(Command::new("apt-get").args(["update", "--quiet"]))?;
                download()
            })?;
            for package in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if package.path().extension().is_some_and(|end| end == "deb") {
                    let root = folder.join("root");
                    run(Command::new("dpkg-deb").arg("-x").arg(package.path()).arg(root))?;
                }
            }
            Ok(String::new())
        })?;
        Ok(folder.join("root/usr/bin"))
    })
    .clone()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_or_else(|error| panic!("no free port: {error}"), |address| address.port())
}

fn spawn(program: &Path, arguments: &[String]) -> Child {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// Waits for a condition of another process.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _look in 0..READY_LOOKS {
        if is_so() {
            return;
        }
        std::thread::park_timeout(LOOK);
    }
    panic!("waited too long for: {what}");
}

/// One HTTP/1.0 request; status and body, or `None` when nobody answers.
pub fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\nContent-Type: \
         application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// For a form or a query string.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// InfluxDB 1.6.7, killed when dropped.
pub struct Influx {
    child: Child,
    pub port: u16,
    rpc: u16,
    folder: PathBuf,
}

impl Influx {
    /// Starts one with an empty database [`DATABASE`].
    pub fn start() -> Result<Self, Skip> {
        let folder = new_scratch();
        let program = programs()?.join("influxd");
        fs::create_dir_all(&folder).unwrap_or_default();
        let (port, rpc) = (free_port(), free_port());
        let child = Self::spawn(&program, &folder, port, rpc);
        let server = Self { child, port, rpc, folder };
        server.wait_ready();
        server.query(&format!("CREATE DATABASE {DATABASE}"));
        Ok(server)
    }

    fn spawn(program: &Path, folder: &Path, port: u16, rpc: u16) -> Child {
        let place = folder.display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n\
             [meta]\n  dir = \"{place}/meta\"\n\
             [data]\n  dir = \"{place}/data\"\n  wal-dir = \"{place}/wal\"\n\
             [http]\n  bind-address = \"127.0.0.1:{port}\"\n  max-body-size = 1048576\n"
        );
        let file = folder.join("influx.conf");
        fs::write(&file, config).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        spawn(program, &["-config".to_owned(), file.display().to_string()])
    }

    fn wait_ready(&self) {
        wait_for("InfluxDB", || ask(self.port, "GET", "/ping", "").is_some_and(|a| a.0 == 204));
    }

    /// Ends it with SIGKILL; the port is free then.
    pub fn kill(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }

    /// Starts it again on the same files and port.
    pub fn restart(&mut self) {
        let program = programs().unwrap_or_else(|skip| panic!("{skip}")).join("influxd");
        self.child = Self::spawn(&program, &self.folder, self.port, self.rpc);
        self.wait_ready();
    }

    /// The first result of an InfluxQL query: `{"series": [..]}`.
    pub fn query(&self, q: &str) -> Value {
        let body = format!("q={}", encoded(q));
        let path = format!("/query?db={DATABASE}&epoch=ns");
        let (status, body) =
            ask(self.port, "POST", &path, &body).unwrap_or_else(|| panic!("{q}: no answer"));
        let value: Value = serde_json::from_str(&body).unwrap_or_default();
        let result = value["results"][0].clone();
        assert!(status == 200 && result.get("error").is_none(), "{q}: {status} {body}");
        result
    }

    /// Rows of the only series of a query.
    pub fn rows(&self, q: &str) -> Vec<Vec<Value>> {
        let rows = self.query(q)["series"][0]["values"].as_array().cloned().unwrap_or_default();
        rows.into_iter().filter_map(|row| row.as_array().cloned()).collect()
    }

    /// Writes lines as they are.
    pub fn write(&self, lines: &str) -> u16 {
        let path = format!("/write?db={DATABASE}&precision=ns");
        ask(self.port, "POST", &path, lines).map_or(0, |answer| answer.0)
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// VictoriaMetrics 1.79 behind vmauth, killed when dropped.
pub struct Victoria {
    children: [Child; 2],
    pub port: u16,
    /// The server itself, without a token.
    pub direct: u16,
    folder: PathBuf,
}

impl Victoria {
    /// Starts both, empty.
    pub fn start() -> Result<Self, Skip> {
        let programs = programs()?;
        let folder = new_scratch();
        fs::create_dir_all(&folder).unwrap_or_default();
        let (port, direct) = (free_port(), free_port());
        let auth = folder.join("auth.yml");
        let users = format!(
            "users:\n- bearer_token: \"{TOKEN}\"\n  url_prefix: \"http://127.0.0.1:{direct}/\"\n"
        );
        fs::write(&auth, users).unwrap_or_else(|error| panic!("{}: {error}", auth.display()));
        let store = [
            format!("-storageDataPath={}", folder.join("vm").display()),
            format!("-httpListenAddr=127.0.0.1:{direct}"),
            "-retentionPeriod=100y".to_owned(),
            // Else equal stamps are kept twice.
            "-dedup.minScrapeInterval=1ms".to_owned(),
        ];
        let gate = [
            format!("-auth.config={}", auth.display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
        ];
        let children = [
            spawn(&programs.join("victoria-metrics"), &store),
            spawn(&programs.join("vmauth"), &gate),
        ];
        let server = Self { children, port, direct, folder };
        for port in [direct, port] {
            wait_for("VictoriaMetrics", || ask(port, "GET", "/health", "").is_some());
        }
        Ok(server)
    }

    /// Points of a metric: series by its label `tag`, time [ms] and value.
    pub fn export(&self, metric: &str) -> Vec<(String, i64, f64)> {
        // New series are readable only after a while, or this.
        ask(self.direct, "GET", "/internal/force_flush", "");
        let path = format!("/api/v1/export?match[]={}", encoded(metric));
        let (_, body) = ask(self.direct, "GET", &path, "").unwrap_or_default();
        let mut points = Vec::new();
        for line in body.lines() {
            let series: Value = serde_json::from_str(line).unwrap_or_default();
            let tag = series["metric"]["tag"].as_str().unwrap_or_default();
            let (times, values) = (series["timestamps"].as_array(), series["values"].as_array());
            for (time, value) in times.into_iter().flatten().zip(values.into_iter().flatten()) {
                let point = time.as_i64().zip(value.as_f64());
                points.extend(point.map(|(time, value)| (tag.to_owned(), time, value)));
            }
        }
        points.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        points
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap_or_default();
            child.wait().ok();
        }
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}
