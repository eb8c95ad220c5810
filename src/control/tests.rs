//! Tests of the control socket with a port of straw.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::Client;
use super::*;
use crate::clock::Clock;
use crate::output::Names;
use crate::output::dto::ProposalStatus;
use crate::store::{Store, StoreOptions, verify_audit};

#[derive(Debug)]
struct Straw {
    orders: SyncSender<Command>,
    outcome: OrderOutcome,
    events: Mutex<Receiver<EventLine>>,
    bar: Option<Bar>,
}

impl Port for Straw {
    fn status(&self) -> Status {
        Status {
            cell: "cell-1".into(),
            loops: vec![LoopStatus {
                name: "weight".into(),
                mode: "auto".into(),
                unit: "bar".into(),
                read_back: Some(58.5),
                decimals: 1,
                proposal: Some(ProposalStatus { id: 7, from_ticks: 117, ..Default::default() }),
                ..LoopStatus::default()
            }],
            ..Status::default()
        }
    }

    fn order(&self, command: Command) -> Result<u64, String> {
        self.orders.send(command).map_err(|error| error.to_string())?;
        Ok(12)
    }

    fn wait(&self, order: u64, _longest: Duration) -> OrderOutcome {
        assert_eq!(order, 12);
        self.outcome.clone()
    }

    fn bar(&self, of: LoopId) -> Option<Bar> {
        assert_eq!(of, LoopId(0));
        self.bar.clone()
    }

    fn backfill(&self, plc: Option<&str>, from: Utc, to: Utc) -> Result<Vec<String>, String> {
        assert!(from < to);
        match plc {
            None => Ok(vec!["press-4".into(), "dryer".into()]),
            Some(other) => Err(format!("there is no PLC \"{other}\"")),
        }
    }

    fn watch(&self, each: &mut dyn FnMut(Option<EventLine>) -> bool) {
        let events = self.events.lock().unwrap();
        while each(None) {
            let Ok(event) = events.recv() else { return };
            if !each(Some(event)) {
                return;
            }
        }
    }
}

struct Bench {
    dir: PathBuf,
    store: Option<Store>,
    server: Option<ControlServer>,
    orders: Receiver<Command>,
    events: Option<SyncSender<EventLine>>,
}

impl Bench {
    fn new(name: &str, owner: Uid, outcome: OrderOutcome) -> Self {
        Self::barred(name, owner, outcome, None)
    }

    fn barred(name: &str, owner: Uid, outcome: OrderOutcome, bar: Option<Bar>) -> Self {
        let dir = std::env::temp_dir().join(format!("trimloop-ctl-{name}-{}", std::process::id()));
        if dir.exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        let store = Store::open(&StoreOptions {
            dir: dir.clone(),
            names: Names::default(),
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [0; 32],
        })
        .unwrap();
        let (orders, given) = sync_channel(16);
        let (events, seen) = sync_channel(16);
        let port = Straw { orders, outcome, events: Mutex::new(seen), bar };
        let path = dir.join("control.sock");
        let data = dir.clone();
        let options = ServerOptions { path, data, store: store.sender(), owner };
        let server = ControlServer::start(options, Arc::new(port)).unwrap();
        Self { dir, store: Some(store), server: Some(server), orders: given, events: Some(events) }
    }

    fn ask(&self, action: LoopAction, reason: &str, dry_run: bool) -> Answer {
        let mut client = Client::connect(&self.dir.join("control.sock")).unwrap();
        let request = Request::Loop {
            loop_name: "weight".into(),
            action,
            reason: reason.into(),
            proposal: None,
            dry_run,
        };
        client.ask(&request).unwrap()
    }

    /// What the audit trail says, in order.
    fn audit(&mut self) -> Vec<(String, String)> {
        drop(self.server.take());
        drop(self.store.take());
        let db = rusqlite::Connection::open(self.dir.join("state.db")).unwrap();
        verify_audit(&db).unwrap().unwrap();
        let mut rows = db.prepare("SELECT what, reason FROM audit ORDER BY seq").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.events.take());
        drop(self.server.take());
        drop(self.store.take());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn code(answer: &Answer) -> (&str, u8) {
    match answer {
        Answer::Done { .. } => ("", 0),
        Answer::Failed { code, exit, .. } => (code, *exit),
    }
}

/// The service's own user raises a loop; the order is in the audit trail before and after.
#[test]
fn an_order_is_audited_and_queued() {
    let mut bench = Bench::new("order", own_user(), OrderOutcome::Done);
    let answer = bench.ask(LoopAction::Auto, "trial passed", false);
    let Answer::Done { result } = &answer else { panic!("{answer:?}") };
    assert_eq!(result["order"], 12);
    assert_eq!(bench.orders.recv().unwrap(), Command::SetMode(LoopId(0), Mode::Auto));
    let answer = bench.ask(LoopAction::Approve, "looks right", false);
    assert_eq!(code(&answer), ("", 0));
    let expected = Command::Approve { proposal: 7, expected: Ticks::new(117) };
    assert_eq!(bench.orders.recv().unwrap(), expected);
    let audit = bench.audit();
    let said: Vec<&str> = audit.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        said,
        [
            "loop auto weight",
            "loop auto weight: done",
            "loop approve weight",
            "loop approve weight: done"
        ]
    );
    assert_eq!(audit[0].1, "trial passed");
}

/// Another user may hold a loop but not raise it; the attempt is audited.
#[test]
fn only_the_services_user_raises_authority() {
    let stranger = Uid::from_raw(own_user().as_raw() + 1);
    let mut bench = Bench::new("stranger", stranger, OrderOutcome::Done);
    for action in [LoopAction::Auto, LoopAction::Advisory] {
        assert_eq!(code(&bench.ask(action, "please", false)), ("TL0902", 5));
    }
    assert_eq!(code(&bench.ask(LoopAction::Hold, "door", false)), ("", 0));
    assert_eq!(bench.orders.recv().unwrap(), Command::SetMode(LoopId(0), Mode::Shadow));
    assert!(bench.orders.try_recv().is_err());
    assert!(bench.audit()[0].0.starts_with("not permitted: loop auto weight"));
}

/// What would let a loop act is refused while its model is not in force, and audited; what lowers it
/// is not.
#[test]
fn a_model_that_is_not_in_force_bars_its_loops() {
    let bar = Bar { why: "press-r2 is SUSPENDED".into(), way: "approve it".into() };
    let mut bench = Bench::barred("barred", own_user(), OrderOutcome::Done, Some(bar));
    for action in [LoopAction::Auto, LoopAction::Advisory, LoopAction::Approve] {
        let answer = bench.ask(action, "trial", false);
        assert_eq!(code(&answer), ("TL0531", 1));
        let Answer::Failed { error, help, .. } = answer else { panic!("an order was taken") };
        assert!(error.contains("press-r2 is SUSPENDED") && help == "approve it", "{error} {help}");
    }
    assert!(bench.orders.try_recv().is_err());
    for action in [LoopAction::Hold, LoopAction::Reset, LoopAction::Deny] {
        assert_eq!(code(&bench.ask(action, "door", false)), ("", 0));
        bench.orders.recv().unwrap();
    }
    let audit = bench.audit();
    let refused = ("loop auto weight: refused: press-r2 is SUSPENDED", "trial");
    assert_eq!((audit[0].0.as_str(), audit[0].1.as_str()), refused);
}

/// No reason, no order; a dry run orders nothing; the cell's refusal comes back with its word.
#[test]
fn orders_without_reason_dry_runs_and_refusals_move_nothing() {
    let bench = Bench::new("refuse", own_user(), OrderOutcome::Refused("tripped".into()));
    assert_eq!(code(&bench.ask(LoopAction::Hold, " ", false)), ("TL0906", 2));
    let answer = bench.ask(LoopAction::Hold, "door", true);
    let Answer::Done { result } = &answer else { panic!("{answer:?}") };
    assert_eq!(result["schema"], "trimloop.plan/1");
    assert!(bench.orders.try_recv().is_err());
    let answer = bench.ask(LoopAction::Auto, "trial", false);
    assert_eq!(code(&answer), ("TL0905", 1));
    let Answer::Failed { error, .. } = answer else { panic!("an order was refused") };
    assert!(error.contains("refused: tripped"), "{error}");
}

/// Events stream to a client; garbage gets an answer and is hung up on.
#[test]
fn events_stream_and_garbage_is_answered() {
    let bench = Bench::new("events", own_user(), OrderOutcome::Done);
    let events = bench.events.as_ref().unwrap();
    for part in 1..=3 {
        events.send(EventLine { part, ..EventLine::default() }).unwrap();
    }
    let path = bench.dir.join("control.sock");
    let mut parts = Vec::new();
    Client::connect(&path)
        .unwrap()
        .follow(&Request::Events, |answer| {
            let Answer::Done { result } = answer else { panic!("{answer:?}") };
            parts.push(result["part"].as_i64().unwrap());
            parts.len() < 3
        })
        .unwrap();
    assert_eq!(parts, [1, 2, 3]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"{\"do\":\"write\",\"value\":9}\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("TL0906"), "{answer}");
}

/// The socket is for owner and group; a dead one is replaced, a live one is not; it is removed.
#[test]
fn the_socket_is_made_and_removed_with_care() {
    let mut bench = Bench::new("socket", own_user(), OrderOutcome::Done);
    let path = bench.dir.join("control.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let again = |bench: &Bench| {
        let (orders, _) = sync_channel(16);
        let (_, events) = sync_channel(16);
        let (outcome, events) = (OrderOutcome::Done, Mutex::new(events));
        let port = Straw { orders, outcome, events, bar: None };
        let store = bench.store.as_ref().unwrap().sender();
        let data = bench.dir.clone();
        let options = ServerOptions { path: path.clone(), data, store, owner: own_user() };
        ControlServer::start(options, Arc::new(port))
    };
    assert!(matches!(again(&bench), Err(ServerError::InUse { .. })));
    drop(bench.server.take());
    assert!(!path.exists());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(again(&bench).unwrap());
}

/// A span to be read from the PLCs' history is noted and audited; one that is none, or of a PLC that
/// is none, is not.
#[test]
fn a_backfill_is_asked_for() {
    let mut bench = Bench::new("backfill", Uid::current(), OrderOutcome::Done);
    let ask = |plc: Option<&str>, from, to| {
        let mut client = Client::connect(&bench.dir.join("control.sock")).unwrap();
        client.ask(&Request::Backfill { plc: plc.map(str::to_owned), from, to }).unwrap()
    };
    let Answer::Done { result } = ask(None, 0, 3_600_000_000_000) else { panic!("not done") };
    assert_eq!((&result["plcs"], &result["ok"]), (&"press-4, dryer".into(), &true.into()));
    for (plc, from, to, code) in [(None, 5, 5, "TL0722"), (Some("pres"), 0, 5, "TL0726")] {
        let Answer::Failed { code: said, .. } = ask(plc, from, to) else { panic!("done") };
        assert_eq!(said, code);
    }
    let span = "press-4, dryer: 1970-01-01T00:00:00.000Z to 1970-01-01T01:00:00.000Z";
    assert_eq!(bench.audit(), [("backfill".to_owned(), span.to_owned())]);
}
