//! `[risk.account]`: limits of the guards that remember.

use super::reader::{Scope, key};
use crate::base::zone::{Window, ZONE_WORDS, Zone};

/// What happens to positions when a loss guard trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    Block,
    Flatten,
    Kill,
}

/// Money in 1e-8 of the equity currency, shares in 1e-8 of a per cent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSection {
    /// Empty = quote currency of the first symbol.
    pub equity_currency: String,
    pub time_zone: Zone,
    pub daily_loss_max: i64,
    pub daily_loss_max_pct: i64,
    pub drawdown_max: i64,
    pub drawdown_max_pct: i64,
    pub on_loss: OnLoss,
    pub loss_streak_max: u32,
    pub reject_streak_max: u32,
    pub cooldown_s: u32,
    pub cooldown_symbol_s: u32,
    pub foreign_pause_s: u32,
    pub trades_day_max: u32,
    pub symbol_trades_day_max: u32,
    pub trading_windows: Vec<Window>,
    /// 1e-8 of a basis point.
    pub volatility_max_bps: i64,
    pub volatility_window_ms: u32,
    pub volatility_pause_s: u32,
    pub repeat_max: u16,
    pub repeat_window_ms: u32,
}

pub(super) fn read_account(s: &mut Scope<'_, '_>) -> AccountSection {
    const MONEY: &str = "equity currency";
    let mut s = s.section(
        "account",
        "Limits that remember: they hold across restarts, and what has tripped stays so until its \
         time is over or a person resets it with a reason. P&L is realised and open, fees \
         deducted, from own trades: money paid in or out does not change it.",
    );
    let equity_currency = s.text(
        key(
            "equity_currency",
            "",
            "Wallet that equity is read from. Empty: the quote currency of the first symbol.",
        ),
        "",
        "upper-case letters and digits, at most 12",
        |text| {
            let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
            if text.len() <= 12 && text.chars().all(good) {
                Ok(())
            } else {
                Err("write the venue's code, e.g. USD".to_owned())
            }
        },
    );
    let zone = s.text(
        key(
            "time_zone",
            "",
            "Where a day ends, and the clock of trading_windows. The venue's own.",
        ),
        "UTC",
        ZONE_WORDS,
        |text| Zone::parse(text).map(|_| ()).ok_or_else(|| "write e.g. UTC or +01:00".to_owned()),
    );
    let daily_loss_max = s.decimal(
        key("daily_loss_max", MONEY, "Loss of a day at which trading ends for the day."),
        "2500",
        "0.00000001",
        "10000000000",
    );
    let daily_loss_max_pct = s.decimal(
        key(
            "daily_loss_max_pct",
            "per cent",
            "The same as a share of the equity at the day's start; the stricter of both holds.",
        ),
        "5",
        "0.0001",
        "100",
    );
    let drawdown_max = s.decimal(
        key(
            "drawdown_max",
            MONEY,
            "Loss from the highest P&L so far at which trading ends until a person resets it.",
        ),
        "5000",
        "0.00000001",
        "10000000000",
    );
    let drawdown_max_pct = s.decimal(
        key(
            "drawdown_max_pct",
            "per cent",
            "The same as a share of the equity at the peak; the stricter of both holds.",
        ),
        "10",
        "0.0001",
        "100",
    );
    let on_loss = s.choice(
        key(
            "on_loss",
            "",
            "When one of these two trips, entries end and own entry orders are cancelled. block: \
             positions stay. flatten: they are closed. kill: closed, and halted until a person \
             resets. Flatten, since an open loss goes on growing.",
        ),
        OnLoss::Flatten,
        &[("block", OnLoss::Block), ("flatten", OnLoss::Flatten), ("kill", OnLoss::Kill)],
    );
    let mut count =
        |name, about, default, most| s.int(key(name, "count", about), default, 1..=most);
    let loss_streak_max =
        count("loss_streak_max", "Round trips that lost, in a row, before a pause.", 10, 100_000);
    let reject_streak_max = count(
        "reject_streak_max",
        "Orders refused by the venue, in a row, before a pause: it will refuse the next one, too.",
        10,
        100_000,
    );
    let trades_day_max = count(
        "trades_day_max",
        "Orders filled in a day, wholly or in part. Orders alive count as if they were.",
        20_000,
        10_000_000,
    );
    let symbol_trades_day_max =
        count("symbol_trades_day_max", "The same for each symbol.", 10_000, 10_000_000);
    let repeat_max = count(
        "repeat_max",
        "The same order (symbol, side, price, size) more often than this within repeat_window_ms \
         closes its symbol until a person resets it: something is stuck in a loop.",
        20,
        64,
    );
    let repeat_window_ms = s.int(
        key("repeat_window_ms", "ms", "The window of repeat_max. No strategy asks that often."),
        1_000,
        1..=3_600_000,
    );
    let mut seconds =
        |name, about, default, range| s.int(key(name, "s", about), default, range) as u32;
    let cooldown_s = seconds(
        "cooldown_s",
        "Pause of the account after a loss guard or a streak; it goes on over midnight.",
        900,
        1..=2_592_000,
    );
    let cooldown_symbol_s = seconds(
        "cooldown_symbol_s",
        "Pause of a symbol after a round trip that lost. 0 = none: strategies have their own.",
        0,
        0..=2_592_000,
    );
    let foreign_pause_s = seconds(
        "foreign_pause_s",
        "Pause of the account after a sign of somebody else on it: an order or trade not ours.",
        60,
        1..=2_592_000,
    );
    let volatility_pause_s = seconds(
        "volatility_pause_s",
        "Pause of a symbol after a move beyond volatility_max_bps, from its last such moment.",
        60,
        1..=86_400,
    );
    let volatility_max_bps = s.decimal(
        key(
            "volatility_max_bps",
            "bps",
            "Largest distance of the middle's high and low within volatility_window_ms.",
        ),
        "500",
        "0.01",
        "100000",
    );
    let volatility_window_ms = s.int(
        key("volatility_window_ms", "ms", "The window of volatility_max_bps, in eight steps."),
        60_000,
        80..=3_600_000,
    ) as u32;
    let words = s.list(
        key(
            "trading_windows",
            "",
            "When entries are allowed, by the clock of time_zone; closing is always allowed. A \
             window that ends before it begins runs past midnight. Always: the market never \
             closes.",
        ),
        &["Mon-Sun 00:00-24:00"],
        "windows like \"Mon-Fri 08:00-22:00\", at least one",
    );
    let mut trading_windows = Vec::new();
    for word in &words {
        match Window::parse(word) {
            Some(window) => trading_windows.push(window),
            None => s.refuse(
                "trading_windows",
                &format!("{word:?}"),
                "a window like \"Mon-Fri 08:00-22:00\"",
                "days from Mon to Sun, hours with two digits",
            ),
        }
    }
    if words.is_empty() {
        s.refuse("trading_windows", "[]", "at least one window", "without any there is no entry");
    }
    s.finish();
    AccountSection {
        equity_currency,
        time_zone: Zone::parse(&zone).unwrap_or_default(),
        daily_loss_max,
        daily_loss_max_pct,
        drawdown_max,
        drawdown_max_pct,
        on_loss,
        loss_streak_max: loss_streak_max as u32,
        reject_streak_max: reject_streak_max as u32,
        cooldown_s,
        cooldown_symbol_s,
        foreign_pause_s,
        trades_day_max: trades_day_max as u32,
        symbol_trades_day_max: symbol_trades_day_max as u32,
        trading_windows,
        volatility_max_bps,
        volatility_window_ms,
        volatility_pause_s,
        repeat_max: repeat_max as u16,
        repeat_window_ms: repeat_window_ms as u32,
    }
}
