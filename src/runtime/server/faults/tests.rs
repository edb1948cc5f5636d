//! Each fault by direct call, against an exchange that says what it is told to.

use super::*;
use crate::base::time::SpanNs;
use crate::runtime::server::Method;

/// Says to everybody what `say` holds; keeps what it heard.
#[derive(Default)]
struct Puppet {
    say: Vec<(u64, Vec<u8>)>,
    heard: Vec<(u64, String)>,
    gone: Vec<u64>,
    controls: Vec<Control>,
    rest: Vec<String>,
}

impl ExchangePort for Puppet {
    fn connect(&mut self, conn: u64, _: WallNs) {
        self.say.push((conn, br#"{"event":"info","version":2}"#.to_vec()));
    }
    fn disconnect(&mut self, conn: u64, _: WallNs) {
        self.gone.push(conn);
    }
    fn on_text(&mut self, conn: u64, text: &[u8], _: WallNs) {
        self.heard.push((conn, String::from_utf8(text.to_vec()).unwrap()));
    }
    fn control(&mut self, control: Control, _: WallNs) {
        self.controls.push(control);
    }
    fn rest(&mut self, request: &RestRequest<'_>, _: WallNs) -> RestReply {
        self.rest.push(request.path_and_query.to_owned());
        RestReply::new(200, JSON, b"[1]".to_vec())
    }
    fn next_at(&self) -> Option<WallNs> {
        None
    }
    fn advance(&mut self, _: WallNs, _: u32) -> u32 {
        0
    }
    fn drain(&mut self, delivery: &mut impl Delivery) {
        for (conn, text) in self.say.drain(..) {
            delivery.text(conn, &text);
        }
    }
    fn market_start(&self) -> Option<WallNs> {
        None
    }
    fn ready_to_start(&self) -> bool {
        true
    }
    fn is_finished(&self) -> bool {
        false
    }
    fn state_dirty(&self) -> bool {
        false
    }
    fn snapshot_state(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn restore_state(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const START: WallNs = WallNs::from_ms(1_735_689_600_000);

/// A world of one exchange, its script and two sockets, 1 and 2, each with a book (17) and trades
/// (18).
struct Stage {
    faulty: Faulty<Puppet>,
    now: WallNs,
}

#[derive(Default)]
struct Taken(Vec<String>);
impl Delivery for Taken {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        self.0.push(format!("{conn} {}", String::from_utf8_lossy(payload)));
    }
    fn close(&mut self, conn: u64) {
        self.0.push(format!("{conn} (closed)"));
    }
}

impl Stage {
    fn new(script: &str) -> Stage {
        let script = FaultScript::parse(&format!("[[fault]]\n{script}")).unwrap();
        let mut stage = Stage { faulty: Faulty::new(Puppet::default(), script), now: START };
        for conn in [1, 2] {
            stage.faulty.connect(conn, START);
            for (id, name) in [(17, "book"), (18, "trades")] {
                let event = format!(
                    "{{\"event\":\"subscribed\",\"channel\":\"{name}\",\"chanId\":{id},\"symbol\":\"tBTCUSD\"}}"
                );
                stage.say(conn, &event);
            }
        }
        stage.take();
        stage
    }
    fn say(&mut self, conn: u64, text: &str) {
        self.faulty.inner_mut().say.push((conn, text.as_bytes().to_vec()));
    }
    fn take(&mut self) -> Vec<String> {
        let mut taken = Taken::default();
        self.faulty.drain(&mut taken);
        taken.0
    }
    /// Says the texts on socket 1; what comes out.
    fn pass(&mut self, texts: &[&str]) -> Vec<String> {
        texts.iter().for_each(|text| self.say(1, text));
        self.take()
    }
    /// Lets time pass, in steps as the server would take.
    fn wait(&mut self, ms: i64) {
        let until = self.now + SpanNs::from_ms(ms);
        while let Some(next) = self.faulty.next_at().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            assert!(self.faulty.advance(self.now, 1024) > 0, "due, and nothing done");
        }
        self.now = until;
        self.faulty.advance(until, 1024);
    }
    fn hear(&mut self, conn: u64, text: &str) {
        self.faulty.on_text(conn, text.as_bytes(), self.now);
    }
    fn call(&mut self, path: &str) -> RestReply {
        let request = RestRequest {
            method: Method::Post,
            path_and_query: path,
            api_key: None,
            nonce: None,
            signature: None,
            token: None,
            if_none_match: None,
            body: b"{}",
        };
        self.faulty.rest(&request, self.now)
    }
    fn count(&self) -> FaultCounters {
        self.faulty.fault_counters()
    }
}

const BOOK: &str = "[17,[100,1,1],5]";
const TRADE: &str = "[18,\"te\",[1,2,3,4],6]";
const ORDER: &str = r#"[0,"on",null,{"type":"LIMIT"}]"#;
const AUTH: &str = r#"{"event":"auth","apiKey":"k"}"#;

#[test]
fn without_a_script_everything_passes() {
    let mut faulty = Faulty::new(Puppet::default(), FaultScript::default());
    faulty.connect(1, START);
    faulty.on_text(1, ORDER.as_bytes(), START);
    faulty.inner_mut().say.push((1, BOOK.as_bytes().to_vec()));
    let mut taken = Taken::default();
    faulty.drain(&mut taken);
    faulty.disconnect(1, START);
    assert_eq!(taken.0, ["1 {\"event\":\"info\",\"version\":2}", &format!("1 {BOOK}")]);
    assert_eq!((faulty.inner().heard.len(), faulty.inner().gone.len()), (1, 1));
    assert_eq!(faulty.fault_counters(), FaultCounters::default());
}

#[test]
fn a_fault_keeps_to_its_window_its_kind_of_message_and_its_number_of_times() {
    let mut stage = Stage::new(
        "kind = \"drop\"\nfrom_s = 1\nfor_s = 2\nframes = \"book\"\nevery = 2\ntimes = 2",
    );
    assert_eq!(stage.pass(&[BOOK, BOOK]).len(), 2, "not yet");
    stage.wait(1_000);
    assert_eq!(stage.pass(&[TRADE, TRADE, TRADE, "{}", "[0,\"n\",[]]"]).len(), 5, "not those");
    assert_eq!(stage.pass(&[BOOK, BOOK, BOOK, BOOK, BOOK, BOOK]).len(), 4, "twice");
    assert_eq!(stage.count().dropped, 2);
    stage.wait(2_000);
    assert_eq!(stage.pass(&[BOOK, BOOK]).len(), 2, "no more");
}

#[test]
fn a_delayed_message_holds_up_what_is_behind_it_on_its_socket_only() {
    let mut stage = Stage::new("kind = \"delay\"\nframes = \"answers\"\ndelay_ms = 300");
    stage.say(1, "[0,\"n\",[1]]");
    stage.say(1, BOOK);
    stage.say(2, BOOK);
    assert_eq!(stage.take(), [format!("2 {BOOK}")]);
    stage.wait(299);
    assert!(stage.take().is_empty());
    stage.wait(1);
    stage.say(1, TRADE);
    assert_eq!(
        stage.take(),
        ["1 [0,\"n\",[1]]".to_owned(), format!("1 {BOOK}"), format!("1 {TRADE}")]
    );
    assert_eq!(stage.count().delayed, 1);
}

#[test]
fn duplicates_come_twice_and_checksums_change() {
    let mut stage = Stage::new("kind = \"duplicate\"\nframes = \"trades\"");
    assert_eq!(stage.pass(&[TRADE, BOOK]).len(), 3);
    let mut stage = Stage::new("kind = \"bad_checksum\"\nevery = 2");
    let sums = ["[17,\"cs\",-871,9]", "[17,\"cs\",-871,10]", "[17,\"cs\",0,11]", "[17,\"cs\",5]"];
    let out = stage.pass(&sums);
    assert_eq!(
        out,
        ["1 [17,\"cs\",-871,9]", "1 [17,\"cs\",-872,10]", "1 [17,\"cs\",0,11]", "1 [17,\"cs\",1]"]
    );
    assert_eq!(stage.count().checksum_spoilt, 2);
}

#[test]
fn a_gap_takes_messages_in_a_row_of_one_socket() {
    let mut stage = Stage::new("kind = \"gap\"\ncount = 3\nframes = \"book\"\ntimes = 1");
    assert_eq!(
        stage.pass(&[BOOK, TRADE, "{\"a\":1}", TRADE, TRADE]),
        ["1 {\"a\":1}".to_owned(), format!("1 {TRADE}")]
    );
    stage.say(2, BOOK);
    assert_eq!(stage.take().len(), 1);
    assert_eq!(stage.count().gap_lost, 3);
}

#[test]
fn silence_says_nothing_and_deafness_hears_nothing() {
    for (deaf, heard) in [("false", 1), ("true", 0)] {
        let mut stage = Stage::new(&format!("kind = \"silence\"\nfor_s = 5\ndeaf = {deaf}"));
        stage.hear(1, ORDER);
        assert!(stage.pass(&[BOOK, TRADE, "{}"]).is_empty());
        assert_eq!(stage.faulty.inner().heard.len(), heard, "deaf = {deaf}");
        stage.wait(5_000);
        assert_eq!(stage.pass(&[BOOK]).len(), 1);
        stage.hear(1, ORDER);
        assert_eq!(stage.faulty.inner().heard.len(), heard + 1);
    }
}

#[test]
fn rest_errors_have_their_status_and_may_have_been_done() {
    let mut stage = Stage::new(
        "kind = \"rest_error\"\nstatus = 429\nretry_after_s = 7\npath = \"/auth/\"\ntimes = 1",
    );
    assert_eq!(stage.call("/v2/tickers").status, 200);
    let reply = stage.call("/v2/auth/w/order/submit");
    assert_eq!((reply.status, reply.retry_after_s), (429, Some(7)));
    assert_eq!(reply.body, br#"["error",11010,"ratelimit: error"]"#);
    assert_eq!(stage.call("/v2/auth/r/wallets").status, 200, "once");
    assert_eq!(stage.faulty.inner().rest, ["/v2/tickers", "/v2/auth/r/wallets"]);

    let mut stage = Stage::new("kind = \"rest_error\"\nstatus = 502\napplied = true");
    assert_eq!(stage.call("/v2/auth/w/order/submit").status, 502);
    assert_eq!(stage.faulty.inner().rest, ["/v2/auth/w/order/submit"], "done, and not told");
}

#[test]
fn a_slow_body_is_the_right_one() {
    let mut stage = Stage::new("kind = \"slow_body\"\nwait_ms = 20\nbytes_per_s = 9");
    let reply = stage.call("/v2/tickers");
    let pace = Pace { wait: std::time::Duration::from_millis(20), bytes_per_s: 9 };
    assert_eq!((reply.status, reply.body.as_slice(), reply.pace), (200, &b"[1]"[..], Some(pace)));
}

#[test]
fn a_broken_body_is_half_of_the_right_one() {
    let mut stage = Stage::new("kind = \"broken_body\"\npath = \"tick\"\ntimes = 1");
    assert_eq!(stage.call("/v2/conf").body, b"[1]", "another path");
    let reply = stage.call("/v2/tickers");
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"["[..]));
    assert_eq!(stage.call("/v2/tickers").body, b"[1]", "once");
}

#[test]
fn nonces_are_refused_on_socket_and_rest_and_nothing_is_done() {
    let mut stage = Stage::new("kind = \"nonce_refused\"\ntimes = 2");
    stage.hear(1, AUTH);
    let told = stage.take();
    assert!(told[0].contains(r#""status":"FAILED""#) && told[0].contains("10114"), "{told:?}");
    assert_eq!(stage.call("/v2/tickers").status, 200, "public calls have no nonce");
    let reply = stage.call("/v2/auth/r/wallets");
    assert_eq!((reply.status, reply.body), (500, br#"["error",10114,"nonce: small"]"#.to_vec()));
    stage.hear(1, AUTH);
    assert_eq!(stage.faulty.inner().heard.len(), 1, "the third time it is heard");
    assert_eq!(stage.faulty.inner().rest, ["/v2/tickers"]);
}

#[test]
fn cancel_only_and_maintenance_begin_and_end_by_the_clock() {
    let mut stage = Stage::new("kind = \"cancel_only\"\nfrom_s = 1\nfor_s = 2");
    stage.wait(999);
    assert!(stage.faulty.inner().controls.is_empty());
    stage.wait(1);
    assert_eq!(stage.faulty.inner().controls, [Control::CancelOnly(true)]);
    stage.wait(10_000);
    let controls = [Control::CancelOnly(true), Control::CancelOnly(false)];
    assert_eq!(stage.faulty.inner().controls, controls);

    let mut stage = Stage::new("kind = \"maintenance\"\nfrom_s = 1\nfor_s = 2");
    stage.wait(60_000);
    let controls = [Control::Announce(20_060), Control::Announce(20_061)];
    assert_eq!(stage.faulty.inner().controls, controls);
    assert_eq!(stage.count().maintenance_begun, 1);
    let mut stage = Stage::new("kind = \"maintenance\"\nfrom_s = 1");
    stage.wait(60_000);
    assert_eq!(stage.faulty.inner().controls.len(), 1, "without an end it stays");
}

#[test]
fn a_restart_in_mid_order_answers_nobody_and_ends_every_socket() {
    for (applied, heard) in [("false", 0), ("true", 1)] {
        let mut stage = Stage::new(&format!("kind = \"restart\"\napplied = {applied}"));
        stage.hear(1, AUTH);
        stage.hear(1, ORDER);
        // The exchange's answer, where it took the order.
        stage.say(1, "[0,\"n\",[1]]");
        let word =
            "{\"event\":\"info\",\"code\":20051,\"msg\":\"Stopping. Please try to reconnect\"}";
        let expected = [1, 2].map(|conn| [format!("{conn} {word}"), format!("{conn} (closed)")]);
        assert_eq!(stage.take(), expected.concat());
        let orders = stage.faulty.inner().heard.iter().filter(|(_, text)| text == ORDER).count();
        assert_eq!(orders, heard, "applied = {applied}");
        assert_eq!(stage.faulty.inner().gone, [1, 2]);
        // What comes from the old sockets is not heard; new ones are as good as ever.
        stage.hear(1, ORDER);
        stage.faulty.connect(3, stage.now);
        stage.hear(3, ORDER);
        let last = stage.faulty.inner().heard.last().unwrap();
        assert_eq!((last.0, last.1.as_str()), (3, ORDER));
        assert_eq!(stage.take(), ["3 {\"event\":\"info\",\"version\":2}"]);
    }
}

#[test]
fn everybody_is_hung_up_on_once_and_new_sockets_can_be_refused() {
    let mut stage = Stage::new("kind = \"hang_up\"\nfrom_s = 1\nfor_s = 9");
    stage.wait(1_000);
    assert_eq!(stage.take(), ["1 (closed)", "2 (closed)"]);
    stage.faulty.connect(3, stage.now);
    stage.wait(1_000);
    assert_eq!(stage.take().len(), 1, "the greeting");
    assert_eq!(stage.count().hung_up, 1);

    let mut stage = Stage::new("kind = \"refuse_connect\"\nstatus = 503\ntimes = 1");
    assert_eq!(stage.faulty.admit(START).map(|reply| reply.status), Some(503));
    assert_eq!(stage.faulty.admit(START), None);
}

#[test]
fn the_manual_shows_every_kind_and_is_a_good_script() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/faults.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let script = FaultScript::parse(&text).unwrap();
    for (kind, keys) in script::KINDS {
        let shown = text.lines().filter(|line| *line == format!("kind = \"{kind}\"")).count();
        assert!(shown >= 1, "config/faults.toml lacks an example of {kind}");
        for key in keys {
            assert!(text.contains(&format!("`{key}`")), "config/faults.toml says nothing of {key}");
        }
    }
    assert!(script.faults.len() >= script::KINDS.len());
}
