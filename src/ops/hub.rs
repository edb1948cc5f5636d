//! Where the threads that watch a run meet: the newest status, the history of the charts, what
//! alerts, watchdog and host say, and the commands on their way to the engine. Short locks, no
//! waiting: none of these threads can hold another one up.

use super::status::{AlertsStatus, HostStatus, Incident, Point, Status};
use super::waterfall::OrderWaterfall;
use crate::model::OperatorVerb;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Points of the charts that are kept: an hour at one a second.
pub const HISTORY_MAX: usize = 3_600;
/// Incidents that are kept.
pub const INCIDENTS_MAX: usize = 64;
/// Commands that may wait for the engine.
pub const COMMANDS_MAX: usize = 16;

/// A command of an operator on its way.
pub struct Ask {
    pub verb: OperatorVerb,
    /// By name; `None` = all.
    pub symbol: Option<String>,
    pub reason: String,
    /// Who asks, for the audit.
    pub who: String,
    /// Told once, when the effect was seen or was not in time.
    pub reply: Box<dyn FnOnce(Outcome) + Send>,
}

/// What became of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// The engine has taken it.
    pub accepted: bool,
    /// What was seen to follow, in words.
    pub effect: String,
    pub rank_before: String,
    pub rank_after: String,
    pub orders_before: u64,
    pub orders_after: u64,
    pub took_ms: u64,
}

/// See the module.
pub struct Hub {
    status: Mutex<(Arc<Status>, Arc<str>)>,
    version: AtomicU64,
    history: Mutex<VecDeque<Point>>,
    alerts: Mutex<AlertsStatus>,
    incidents: Mutex<VecDeque<Incident>>,
    host: Mutex<HostStatus>,
    orders: Mutex<Vec<OrderWaterfall>>,
    commands: Sender<Ask>,
    listener: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Hub {
    /// With the end from which the run takes commands.
    pub fn new() -> (Arc<Hub>, Receiver<Ask>) {
        let (commands, asked) = bounded(COMMANDS_MAX);
        let status = Arc::new(Status::default());
        let json: Arc<str> = status.to_json().into();
        let hub = Hub {
            status: Mutex::new((status, json)),
            version: AtomicU64::new(0),
            history: Mutex::new(VecDeque::new()),
            alerts: Mutex::new(AlertsStatus::default()),
            incidents: Mutex::new(VecDeque::new()),
            host: Mutex::new(HostStatus::default()),
            orders: Mutex::new(Vec::new()),
            commands,
            listener: Mutex::new(None),
        };
        (Arc::new(hub), asked)
    }

    /// Fills in what the other watchers say, then shows the status to everybody.
    pub fn publish(&self, mut status: Status) {
        status.alerts = self.alerts.lock().clone();
        status.incidents = self.incidents.lock().iter().rev().cloned().collect();
        status.host = *self.host.lock();
        let point = status.point();
        {
            let mut history = self.history.lock();
            let is_new = history.back().is_none_or(|last| point.at_ms - last.at_ms >= 1_000);
            if is_new {
                if history.len() == HISTORY_MAX {
                    history.pop_front();
                }
                history.push_back(point);
            }
        }
        let json: Arc<str> = status.to_json().into();
        *self.status.lock() = (Arc::new(status), json);
        self.version.fetch_add(1, Ordering::Release);
        if let Some(tell) = &*self.listener.lock() {
            tell();
        }
    }

    /// Ways of the newest orders, newest first.
    pub fn set_orders(&self, orders: Vec<OrderWaterfall>) {
        *self.orders.lock() = orders;
    }
    pub fn orders(&self) -> Vec<OrderWaterfall> {
        self.orders.lock().clone()
    }

    pub fn status(&self) -> Arc<Status> {
        self.status.lock().0.clone()
    }
    pub fn status_json(&self) -> Arc<str> {
        self.status.lock().1.clone()
    }
    /// Grows with every publication.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
    pub fn history(&self) -> Vec<Point> {
        self.history.lock().iter().copied().collect()
    }
    /// Called after every publication.
    pub fn listen(&self, tell: impl Fn() + Send + 'static) {
        *self.listener.lock() = Some(Box::new(tell));
    }
    pub fn set_alerts(&self, alerts: AlertsStatus) {
        *self.alerts.lock() = alerts;
    }
    pub fn set_host(&self, host: HostStatus) {
        *self.host.lock() = host;
    }
    pub fn add_incident(&self, incident: Incident) {
        let mut incidents = self.incidents.lock();
        if incidents.len() == INCIDENTS_MAX {
            incidents.pop_front();
        }
        incidents.push_back(incident);
    }
    /// Hands a command to the run.
    ///
    /// # Errors
    /// Why not: too many wait, or the run has ended.
    pub fn ask(&self, ask: Ask) -> Result<(), &'static str> {
        self.commands.try_send(ask).map_err(|error| match error {
            TrySendError::Full(_) => "earlier commands wait still",
            TrySendError::Disconnected(_) => "the run has ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_carries_what_the_others_said() {
        let (hub, _asked) = Hub::new();
        hub.set_host(HostStatus { fds: 7, ..HostStatus::default() });
        for index in 0..INCIDENTS_MAX + 3 {
            hub.add_incident(Incident { text: index.to_string(), ..Incident::default() });
        }
        for at_ms in [1_000, 1_500, 2_000, 3_100] {
            hub.publish(Status { at_ms, ..Status::default() });
        }
        let status = hub.status();
        assert_eq!(status.host.fds, 7);
        assert_eq!(status.incidents.len(), INCIDENTS_MAX);
        assert_eq!(status.incidents[0].text, (INCIDENTS_MAX + 2).to_string(), "newest first");
        assert_eq!(hub.version(), 4);
        let times: Vec<i64> = hub.history().iter().map(|point| point.at_ms).collect();
        assert_eq!(times, [1_000, 2_000, 3_100], "a point a second");
        let again: Status = sonic_rs::from_str(&hub.status_json()).unwrap();
        assert_eq!(again, *status);
    }

    #[test]
    fn commands_have_a_bound() {
        let (hub, asked) = Hub::new();
        let ask = || Ask {
            verb: OperatorVerb::Pause,
            symbol: None,
            reason: String::new(),
            who: String::new(),
            reply: Box::new(|_| {}),
        };
        for _ in 0..COMMANDS_MAX {
            assert_eq!(hub.ask(ask()), Ok(()));
        }
        assert_eq!(hub.ask(ask()), Err("earlier commands wait still"));
        drop(asked);
        assert_eq!(hub.ask(ask()), Err("the run has ended"));
    }
}
