//! The server and its life.

use std::path::{Path, PathBuf};

use opcua::types::{StatusCode, Variant};
use trimloop::pki::{Certificate, Pki, Place};
use trimloop_core::event::What;
use trimloop_core::mode::Mode;
use trimloop_core::plan::PlcId;
use trimloop_core::time::{Mono, Span};
use trimloop_recipe::plc_config::{Policy, Security, SecurityMode};
use trimloop_simulator::Fault;

use crate::bench::Bench;
use crate::writes::other_client;

/// The server goes and comes: a new epoch, nothing sent again, every loop in SHADOW until people
/// raise it.
fn goes_and_comes(bench: &mut Bench, change: impl FnOnce(&mut Bench)) {
    let epoch = bench.cell.status().plcs[0].link.epoch;
    let from = bench.mark();
    change(bench);
    bench.until("the loss", |bench| bench.event(from, |what| *what == What::LinkDown(PlcId::LEAD)));
    let lost = bench.clock.mono();
    bench.back(from);
    assert!(bench.cell.status().plcs[0].link.epoch > epoch);
    let accepted = bench.counted().attempts;
    let part = bench.press.part();
    bench.until("twenty parts", |bench| bench.press.part() >= part + 20);
    bench.nothing_issued(from, lost);
    assert_eq!(bench.counted().attempts, accepted, "something was sent again");
}

/// After a restart of the PLC data come back by themselves: a new session, addresses looked up, a
/// new subscription. No write of the old session is sent again.
#[test]
fn pain_06_server_restarted() {
    let mut bench = Bench::in_auto();
    let start = bench.clock.mono();
    goes_and_comes(&mut bench, |bench| {
        bench.switch(Fault::ServerRestarted, true);
    });
    println!("restart: back after {} ms", (bench.clock.mono() - start).as_millis());
    bench.auto();
    bench.no_violation();
    bench.end();
}

/// While the server cannot be reached nothing is kept for it: what the loops wanted meanwhile is
/// forgotten when it is back.
#[test]
fn pain_05_server_gone() {
    let mut bench = Bench::in_auto();
    let counted = bench.counted().attempts;
    goes_and_comes(&mut bench, |bench| {
        let from = bench.mark();
        bench.switch(Fault::ServerGone, true);
        bench.until("the loss", |bench| {
            bench.event(from, |what| *what == What::LinkDown(PlcId::LEAD))
        });
        let part = bench.press.part();
        // The press goes on, and so would a queue of writes.
        bench.until("forty parts", |bench| bench.press.part() >= part + 40);
        bench.switch(Fault::ServerGone, false);
    });
    assert!(bench.counted().attempts >= counted);
    bench.auto();
    bench.no_violation();
    bench.end();
}

/// Namespaces in another order, and registers of the same names where ours were: addresses are
/// looked up again, and no write goes astray.
#[test]
fn pain_15_namespaces_moved() {
    let mut bench = Bench::in_auto();
    let mut strays = 0;
    for on in [true, false] {
        goes_and_comes(&mut bench, |bench| {
            bench.switch(Fault::NamespacesMoved, on);
        });
        let before = bench.counted().accepted;
        bench.auto();
        assert!(bench.counted().accepted >= before + 5);
        assert_eq!(bench.load().strays, strays, "a write went to another register of that name");
        if on {
            // One that another client sends there is counted.
            let (url, value) = (bench.press.url(), Variant::Double(1.0));
            let stray = other_client(&url, "urn:trimloop:simulator:other", value);
            assert_eq!(bench.runtime.block_on(stray), StatusCode::Good);
            strays = 1;
            assert_eq!(bench.load().strays, strays);
        }
    }
    assert!(bench.cell.status().plcs[0].plc.problems.is_empty());
    bench.no_violation();
    bench.end();
}

/// A setpoint of another type than before stops all writes, also to the others, until it is as it
/// was.
#[test]
fn register_retyped() {
    let mut bench = Bench::in_auto();
    let from = bench.switch(Fault::RegisterRetyped, true);
    bench.until("the verdict", |bench| {
        let problems = bench.cell.status().plcs[0].plc.problems.clone();
        problems.iter().any(|p| p.node == "hold_pressure_sp" && p.stops_writes)
    });
    let at = bench.clock.mono();
    assert!(bench.cell.status().notices.iter().any(|n| n.code == "register_problem"));
    let attempts = bench.counted().attempts;
    let part = bench.press.part();
    bench.until("thirty parts", |bench| bench.press.part() >= part + 30);
    assert!(!bench.cell.status().plcs[0].link.up, "nothing may be written");
    bench.nothing_issued(from, at);
    assert_eq!(bench.counted().attempts, attempts);
    let from = bench.switch(Fault::RegisterRetyped, false);
    bench.back(from);
    bench.until("no problem", |bench| bench.cell.status().plcs[0].plc.problems.is_empty());
    bench.auto();
    bench.no_violation();
    bench.end();
}

/// A server without room for a session is asked again and again, with pauses, and never stormed;
/// once there is room the link is back. At the end no session is left.
#[test]
fn pain_07_session_limit() {
    let mut bench = Bench::in_auto();
    assert_eq!(bench.load().sessions, 1, "one owner, one session");
    let before = bench.load().connections;
    let from = bench.switch(Fault::SessionLimit, true);
    let start = bench.clock.mono();
    let took = bench.until("twelve attempts", |bench| bench.load().connections >= before + 12);
    let said = bench.cell.status().plcs[0].plc.trouble.clone().unwrap_or_default();
    println!("session limit: 12 connections in {} ms; {said}", took.as_millis());
    // Pauses grow from 0.1 s to 1 s; an attempt is at most two connections: endpoints, session.
    assert!(bench.clock.mono() - start > Span::from_millis(1500), "a storm: {took:?}");
    assert!(said.contains("TooManySessions"), "{said}");
    let from_here = bench.switch(Fault::SessionLimit, false);
    let came = bench
        .until("the link", |bench| bench.event(from_here, |what| matches!(what, What::LinkUp(..))));
    assert!(came < Span::from_secs(10), "{came:?}");
    bench.back(from);
    assert_eq!(bench.load().sessions, 1, "sessions of failed attempts are left");
    bench.auto();
    bench.no_violation();
    bench.end();
}

/// Certificates of press and service, in folders of the test's own.
struct Keys {
    press: PathBuf,
    ours: Pki,
}

impl Keys {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("misbehaving-keys");
        // A folder of an earlier run.
        drop(std::fs::remove_dir_all(&folder));
        Self { press: folder.join("press"), ours: Pki::new(&folder.join("ours")) }
    }

    fn shown(&self) -> PathBuf {
        self.press.join("own/cert.der")
    }

    fn trust(&self) {
        self.ours.decide(self.shown().to_str().unwrap(), Place::Trusted).unwrap();
    }
}

/// A new certificate of the server is refused with a sentence that says what to do, nothing is
/// written, and once people trust it the link comes back without a restart.
#[test]
fn pain_14_certificate_changed() {
    let keys = Keys::new();
    let folder = keys.press.clone();
    let ours = keys.press.with_file_name("ours");
    let mut bench = Bench::with(
        |press| press.pki = Some(folder),
        |cell| {
            cell.bound.plcs[0].security =
                Security::Policy(Policy::Basic256Sha256, SecurityMode::SignAndEncrypt);
            cell.pki_dir = ours;
            keys.trust();
        },
    );
    bench.auto();
    let old = Certificate::read(&keys.shown()).unwrap().fingerprint();
    let from = bench.switch(Fault::CertificateChanged, true);
    let new = Certificate::read(&keys.shown()).unwrap().fingerprint();
    assert_ne!(old, new);
    bench.until("the refusal", |bench| {
        let said = bench.cell.status().plcs[0].plc.trouble.clone().unwrap_or_default();
        said.contains("not trusted yet") && said.contains(&new)
    });
    let at: Mono = bench.clock.mono();
    let part = bench.press.part();
    bench.until("thirty parts", |bench| bench.press.part() >= part + 30);
    assert!(!bench.cell.status().plcs[0].link.up);
    bench.nothing_issued(from, at);
    keys.trust();
    bench.back(from);
    bench.auto();
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.no_violation();
    bench.end();
}
