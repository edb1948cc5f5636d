//! Tells people: the log at once, the others from a thread of their own that nothing waits for.

#![allow(clippy::disallowed_methods, reason = "time-outs of calls to the outside")]

use super::{AlertConfig, AlertKind, Finding, Rules};
use crate::base::time::WallNs;
use crate::ops::hub::Hub;
use crate::ops::status::AlertsStatus;
use crate::ops::text::utc;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Notices that may wait for a slow receiver; more are counted and dropped, the log has them.
const QUEUE_MAX: usize = 64;
/// Tries of one delivery, and the pause before the second; doubled before the third.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const CALL_MAX: Duration = Duration::from_secs(5);
/// Between two looks at the status.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where notices go beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub webhook: Option<String>,
    /// Address and chat.
    pub telegram: Option<(String, String)>,
}

impl Channels {
    /// Reads the files that hold the addresses.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub fn of(config: &AlertConfig) -> Result<Channels, String> {
        let read = |key: &str, path: &str| -> Result<Option<String>, String> {
            if path.is_empty() {
                return Ok(None);
            }
            if path.contains("://") {
                // The address is the secret: it is not repeated here.
                return Err(format!("alerts.{key}: write the file that holds the address"));
            }
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("alerts.{key}: `{path}` cannot be read: {error}"))?;
            let line = text.lines().next().unwrap_or_default().trim();
            if line.starts_with("http://") || line.starts_with("https://") {
                Ok(Some(line.to_owned()))
            } else {
                Err(format!("alerts.{key}: the first line of `{path}` is no http address"))
            }
        };
        let telegram = read("telegram_url_file", &config.telegram_url_file)?;
        Ok(Channels {
            webhook: read("webhook_url_file", &config.webhook_url_file)?,
            telegram: telegram.map(|url| (url, config.telegram_chat.clone())),
        })
    }
    pub fn is_empty(&self) -> bool {
        self.webhook.is_none() && self.telegram.is_none()
    }
}

#[derive(Serialize)]
struct WebhookBody<'a> {
    alert: &'a str,
    severity: &'a str,
    state: &'a str,
    subject: &'a str,
    text: &'a str,
    at: &'a str,
    run: &'a str,
    runbook: &'a str,
}
#[derive(Serialize)]
struct TelegramBody<'a> {
    chat_id: &'a str,
    text: &'a str,
    disable_web_page_preview: bool,
}

fn line_of(finding: &Finding) -> String {
    let subject = match finding.subject.as_str() {
        "" => String::new(),
        subject => format!(" {subject}"),
    };
    let mark = if finding.is_raised { "alert" } else { "alert over" };
    let kind = finding.kind;
    format!("{mark}: {}{subject}: {} ({})", kind.name(), finding.text, kind.runbook())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(CALL_MAX))
        .max_redirects(0)
        .user_agent("genesis")
        .build();
    config.into()
}

/// Posts one notice to every channel; what went wrong, in words without the address.
fn post(agent: &ureq::Agent, channels: &Channels, run: &str, finding: &Finding) -> Vec<String> {
    let mut failures = Vec::new();
    let mut send = |name: &str, url: &str, body: Vec<u8>| {
        let mut pause = PAUSE;
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::park_timeout(pause);
                pause *= 2;
            }
            match agent.post(url).content_type("application/json").send(&body[..]) {
                Ok(_) => return,
                // An address may hold a secret: the library's own words may quote it.
                Err(ureq::Error::StatusCode(code)) => last = format!("HTTP {code}"),
                Err(ureq::Error::Io(error)) => last = error.to_string(),
                Err(ureq::Error::Timeout(_)) => "no answer in time".clone_into(&mut last),
                Err(ureq::Error::HostNotFound) => "the host is not known".clone_into(&mut last),
                Err(ureq::Error::BadUri(_)) => "the address is none".clone_into(&mut last),
                Err(_) => "no connection, or no HTTP".clone_into(&mut last),
            }
        }
        failures.push(format!("{name}: {last}"));
    };
    if let Some(url) = &channels.webhook {
        let body = WebhookBody {
            alert: finding.kind.name(),
            severity: finding.kind.severity().name(),
            state: if finding.is_raised { "raised" } else { "cleared" },
            subject: &finding.subject,
            text: &finding.text,
            at: &utc(WallNs::from_ms(finding.at_ms)),
            run,
            runbook: &finding.kind.runbook(),
        };
        send("webhook", url, sonic_rs::to_vec(&body).unwrap_or_default());
    }
    if let Some((url, chat)) = &channels.telegram {
        let text = format!("genesis {run}\n{}", line_of(finding));
        let body = TelegramBody { chat_id: chat, text: &text, disable_web_page_preview: true };
        send("telegram", url, sonic_rs::to_vec(&body).unwrap_or_default());
    }
    failures
}

/// `genesis alerts test`: one notice to every channel, now.
///
/// # Errors
/// What could not be delivered.
pub fn test_notice(channels: &Channels, at_ms: i64) -> Result<(), Vec<String>> {
    let finding = Finding {
        kind: AlertKind::DailySummary,
        subject: "test".to_owned(),
        text: "a test of the alert channels, asked for by the operator".to_owned(),
        is_raised: true,
        at_ms,
    };
    let failures = post(&agent(), channels, "alerts test", &finding);
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// The two threads of the alerts. Dropping it ends them; what waits is still delivered, for some
/// seconds.
pub struct Notifier {
    stop: Arc<AtomicBool>,
    joins: Vec<JoinHandle<()>>,
}

impl Notifier {
    /// # Errors
    /// The kernel's word.
    pub fn start(
        config: AlertConfig,
        channels: Channels,
        hub: Arc<Hub>,
        run: String,
        prepare: impl Fn() + Send + Clone + 'static,
    ) -> std::io::Result<Notifier> {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let (notices, waiting) = bounded::<Finding>(QUEUE_MAX);
        let mut joins = Vec::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let outside = (!channels.is_empty()).then_some(notices);
        if outside.is_some() {
            let (stop, counts, prepare) = (stop.clone(), counts.clone(), prepare.clone());
            joins.push(spawn(
                "notify",
                Box::new(move || {
                    prepare();
                    deliver(&channels, &run, &waiting, &stop, &counts);
                }),
            )?);
        }
        let flag = stop.clone();
        joins.push(spawn(
            "alerts",
            Box::new(move || {
                prepare();
                watch(Rules::new(config), &hub, outside.as_ref(), &flag, &counts);
            }),
        )?);
        Ok(Notifier { stop, joins })
    }
}
impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for join in self.joins.drain(..).rev() {
            join.thread().unpark();
            let _ = join.join();
        }
    }
}

fn watch(
    mut rules: Rules,
    hub: &Hub,
    outside: Option<&Sender<Finding>>,
    stop: &AtomicBool,
    counts: &Counts,
) {
    let mut seen = 0;
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let version = hub.version();
        if version != seen {
            seen = version;
            for finding in rules.look(&hub.status()) {
                let line = line_of(&finding);
                if finding.is_raised && finding.kind != AlertKind::DailySummary {
                    log::warn!("{line}");
                } else {
                    log::info!("{line}");
                }
                if let Some(outside) = outside
                    && outside.try_send(finding).is_err()
                {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        hub.set_alerts(AlertsStatus {
            active: rules.active(),
            raised: rules.raised(),
            delivered: counts.delivered.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
        });
        if is_last {
            return;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn deliver(
    channels: &Channels,
    run: &str,
    waiting: &Receiver<Finding>,
    stop: &AtomicBool,
    counts: &Counts,
) {
    let agent = agent();
    loop {
        let finding = match waiting.recv_timeout(LOOK_EVERY) {
            Ok(finding) => finding,
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Acquire) => continue,
            Err(_) => return,
        };
        // After the stop each notice still gets its one round of tries, no more come.
        let failures = post(&agent, channels, run, &finding);
        if failures.is_empty() {
            counts.delivered.fetch_add(1, Ordering::Relaxed);
        } else {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            log::error!("alert {} not delivered: {}", finding.kind.name(), failures.join("; "));
        }
    }
}
