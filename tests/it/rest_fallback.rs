//! The private socket is gone and its sign-ins are refused, while market data and REST go on: what
//! may go by REST goes there, once, under the client ids of the ledger, and the rest waits.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Attached, Dir, VenueProcess, output};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The account's socket is gone from here to there, seconds after the exchange began.
const GONE_S: (u64, u64) = (25, 60);

struct Scene {
    dir: Dir,
    venue: VenueProcess,
    engine: Attached,
    begun: Instant,
}

fn until<T>(what: &str, by: Instant, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < by, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Scene {
    fn new(fallback: &str) -> Scene {
        let dir = Dir::new("fallback");
        let faults = dir.path().join("faults.toml");
        let (from, to) = GONE_S;
        let script =
            format!("[[fault]]\nkind = \"account_gone\"\nfrom_s = {from}\nfor_s = {}\n", to - from);
        std::fs::write(&faults, script).unwrap();
        let state = dir.path().join("venue.state");
        let options = ["--no-rest-limits", "--faults", faults.to_str().unwrap()];
        let begun = Instant::now();
        let venue = VenueProcess::start_with("127.0.0.1:0", &state, &options);
        let fallback = format!("orders.rest_fallback=\"{fallback}\"");
        let set = [
            "--set",
            "symbols=[\"tBTCUSD\",\"tETHUSD\",\"tADAUSD\",\"tDOTUSD\"]",
            "--set",
            "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",\
             every_changes=7},{kind=\"probe\",symbols=[\"tADAUSD\"],qty=\"40\",style=\"take\",\
             every_changes=29},{kind=\"probe\",symbols=[\"tDOTUSD\"],qty=\"40\",style=\"take\",\
             every_changes=31},{kind=\"maker\",symbols=[\"tETHUSD\"],qty=\"0.2\",\
             inventory_max=\"2\"}]",
            "--set",
            fallback.as_str(),
        ];
        let mut engine = Attached::start(&venue.address(), dir.path(), &set);
        engine.wait_for("trading", |sent, line| sent >= 5 && line.contains(" running |"));
        Scene { dir, venue, engine, begun }
    }
    /// One whose socket is gone while something is held: the probes buy and sell in turn, so that
    /// by chance nothing may be.
    fn gone_with_a_position(fallback: &str) -> Scene {
        for _ in 0..5 {
            let scene = Scene::new(fallback);
            scene.gone();
            if !scene.is_flat() {
                return scene;
            }
        }
        panic!("flat five times");
    }
    fn at(&self, second: u64) -> Instant {
        self.begun + Duration::from_secs(second)
    }
    fn status(&self) -> Value {
        let (_, out, _) = output(&["status", "--json", "--dir", self.dir.text()]);
        serde_json::from_str(&out).unwrap_or_default()
    }
    /// The socket is gone, with orders and a position at the exchange.
    fn gone(&self) {
        assert!(Instant::now() < self.at(GONE_S.0), "too late for the fault");
        std::thread::sleep(self.at(GONE_S.0 + 1) - Instant::now());
        until("the account's socket gone", self.at(GONE_S.0 + 10), || {
            (self.status()["state"]["ready"] == false).then_some(())
        });
        assert!(!self.orders().is_empty(), "quotes rest");
    }
    fn orders(&self) -> Vec<Value> {
        crate::kill_loop::read(&self.venue, "auth/r/orders")
    }
    fn is_flat(&self) -> bool {
        let rows = crate::kill_loop::read(&self.venue, "auth/r/positions");
        rows.iter().all(|row| row[2].as_f64() == Some(0.0))
    }
    /// Calls made for this reason, by REST.
    fn calls(&self, reason: &str) -> u64 {
        let status = self.status();
        let rows = status["rest"]["reasons"].as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row["name"] == reason).cloned().unwrap_or_default();
        // Reasons without a call have no row.
        row["calls"].as_u64().unwrap_or(0)
    }
    /// Every client id stands for one order at the exchange.
    fn none_twice(&self) -> usize {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for path in ["auth/r/orders/hist", "auth/r/orders"] {
            for row in crate::kill_loop::read(&self.venue, path) {
                let (id, cid) = (row[0].as_u64().unwrap(), row[2].as_u64().unwrap());
                assert_eq!(*seen.entry(cid).or_insert(id), id, "client id {cid} came twice");
            }
        }
        seen.len()
    }
}

#[test]
fn a_flatten_ends_flat_by_rest_while_the_socket_is_gone() {
    let mut scene = Scene::gone_with_a_position("on");
    let said = std::thread::scope(|scope| {
        let flatten =
            scope.spawn(|| output(&["flatten", "--reason", "x", "--dir", scene.dir.text()]));
        until("no order of ours left", scene.at(GONE_S.1 - 10), || {
            scene.orders().is_empty().then_some(())
        });
        until("flat", scene.at(GONE_S.1 - 3), || scene.is_flat().then_some(()));
        assert_eq!(scene.status()["state"]["ready"], false, "the socket is still gone");
        flatten.join().unwrap()
    });
    assert!(matches!(said.0, 0 | 1), "{said:?}");
    until("a status that counts both", scene.at(GONE_S.1), || {
        (scene.calls("entry") >= 1 && scene.calls("cancel") >= 1).then_some(())
    });
    assert_eq!(scene.calls("kill"), 0, "the line did it, not the kill switch's own way");
    let orders = scene.none_twice();
    // The socket comes back; nothing is said again.
    std::thread::sleep(scene.at(GONE_S.1 + 5).saturating_duration_since(Instant::now()));
    assert_eq!(scene.none_twice(), orders);
    assert!(scene.orders().is_empty() && scene.is_flat());
    scene.engine.stop();
}

#[test]
fn by_default_a_cancel_goes_by_rest_and_a_close_waits_for_the_socket() {
    let mut scene = Scene::gone_with_a_position("cancels");
    let dir = scene.dir.text().to_owned();
    let pause = std::thread::spawn(move || output(&["pause", "--reason", "x", "--dir", &dir]));
    until("no order of ours left", scene.at(GONE_S.1 - 5), || {
        scene.orders().is_empty().then_some(())
    });
    pause.join().unwrap();
    let orders = scene.none_twice();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(scene.status()["state"]["ready"], false, "the socket is still gone");
    assert_eq!(scene.none_twice(), orders, "no order was made meanwhile");
    assert!(!scene.is_flat(), "and nothing closed");
    assert_eq!(scene.calls("entry"), 0);
    assert!(scene.calls("cancel") >= 1);
    let (code, _, err) = output(&["resume", "--dir", scene.dir.text()]);
    assert!(matches!(code, 0 | 1), "{err}");
    // It trades on when the socket is back.
    until("more orders", scene.at(GONE_S.1 + 60), || {
        (scene.none_twice() > orders + 3).then_some(())
    });
    scene.engine.stop();
}
