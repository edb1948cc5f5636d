//! The live view: one picture on the alternate screen, drawn at most four times a second.

use super::model::{BookHealth, ViewModel};
use crate::base::units::Side;
use crate::ops::text::{elapsed, grouped, span_ns};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use std::io::{self, Stdout};
use std::sync::Once;
use std::time::Duration;

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Raw mode, so that keys arrive here; not to be had without a keyboard.
    has_keys: bool,
}

/// Gives the terminal back. Errors have nobody left to tell.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
}

impl Screen {
    pub(super) fn open() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        // A panic of any thread must be readable, so the screen goes back before its message is
        // printed.
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let has_keys = enable_raw_mode().is_ok();
        let opened = execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => {
                if let Some(logger) = crate::ops::logger::current() {
                    logger.hide(true);
                }
                Ok(Screen { terminal, has_keys })
            }
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    pub(super) fn draw(&mut self, model: &ViewModel) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, model)).map(|_| ())
    }

    pub(super) fn wait_for_stop(&mut self, wait: Duration) -> bool {
        if !self.has_keys {
            std::thread::park_timeout(wait);
            return false;
        }
        match event::poll(wait) {
            Ok(true) => event::read().is_ok_and(|event| asks_to_stop(&event)),
            Ok(false) => false,
            Err(_) => {
                self.has_keys = false;
                false
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
        if let Some(logger) = crate::ops::logger::current() {
            logger.hide(false);
        }
    }
}

fn asks_to_stop(event: &Event) -> bool {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Press => {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') => true,
                KeyCode::Char('c') => control,
                _ => false,
            }
        }
        _ => false,
    }
}

const DIM: Style = Style::new().fg(Color::DarkGray);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const WARN: Style = Style::new().fg(Color::Yellow);
const HEAD: Style = Style::new().fg(Color::Cyan);

/// Draws one picture. Pieces that do not fit are left out from the bottom.
fn draw(frame: &mut ratatui::Frame<'_>, model: &ViewModel) {
    let symbols = model.symbols.len() as u16 + 2;
    let stages = model.stages.len() as u16 + 5;
    let [head, banner, symbol_area, middle, counters, messages] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(u16::from(model.banner().is_some())),
        Constraint::Length(symbols.min(frame.area().height / 2)),
        Constraint::Length(stages.clamp(8, 14)),
        Constraint::Length(4),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    let [order_area, stage_area] =
        Layout::horizontal([Constraint::Percentage(52), Constraint::Percentage(48)]).areas(middle);

    draw_head(frame, head, model);
    draw_banner(frame, banner, model);
    draw_symbols(frame, symbol_area, model);
    draw_orders(frame, order_area, model);
    draw_stages(frame, stage_area, model);
    draw_counters(frame, counters, model);
    let height = messages.height.saturating_sub(1) as usize;
    let skip = model.messages.len().saturating_sub(height);
    let lines: Vec<Line<'_>> = model
        .messages
        .iter()
        .skip(skip)
        .map(|text| Line::styled(format!("  {text}"), DIM))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(titled("messages")), messages);
}

fn titled(title: &str) -> Block<'_> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(DIM)
        .title(Span::styled(format!("─ {title} "), HEAD))
}
fn header<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    Row::new(names).style(DIM)
}

fn draw_head(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let state = if model.rank == crate::model::Rank::Running { GOOD } else { BAD };
    let mut links = vec![Span::raw("  ")];
    for link in &model.links {
        let style = if link.is_up { DIM } else { BAD };
        links.push(Span::styled(format!("{} {}   ", link.name, link.state), style));
    }
    let head = Line::from(vec![
        Span::styled("  genesis ", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!(
            "{} · {} · {} · {} · ",
            model.environment, model.market, model.speed, model.mode
        )),
        Span::styled(model.rank.name(), state),
        Span::raw(format!(" · {}", elapsed(model.elapsed_s))),
        Span::styled("   q or Ctrl-C stops", DIM),
    ]);
    frame.render_widget(Paragraph::new(vec![head, Line::from(links)]), area);
}

fn draw_banner(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let Some(text) = model.banner() else { return };
    let color = if model.is_stopping { Color::Yellow } else { Color::Red };
    let style = Style::new().fg(Color::Black).bg(color);
    frame.render_widget(Paragraph::new(format!("  {text}")).style(style), area);
}

fn draw_symbols(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let rows = model.symbols.iter().map(|row| {
        let (book, style) = match (row.is_frozen, row.book) {
            (true, _) => ("FROZEN", BAD),
            (_, BookHealth::Synced) => (row.book.name(), GOOD),
            (_, BookHealth::Unsynced) => (row.book.name(), BAD),
            (_, BookHealth::Stale | BookHealth::Waiting) => (row.book.name(), WARN),
        };
        let px = |px: Option<crate::base::units::Px>| match px {
            Some(px) => px.to_string(),
            None => "–".to_owned(),
        };
        let age = row.age_ms.map_or("–".to_owned(), |ms| format!("{ms} ms"));
        let (position, average, pnl) = if row.position.is_zero() && row.pnl.is_zero() {
            ("–".to_owned(), "–".to_owned(), Cell::new("–"))
        } else {
            let pnl = row.pnl.to_f64();
            let style = if pnl < 0.0 { WARN } else { GOOD };
            let average =
                if row.position.is_zero() { "–".into() } else { row.px_avg.to_string() };
            (row.position.to_string(), average, Cell::new(format!("{pnl:+.2}")).style(style))
        };
        Row::new(vec![
            Cell::new(format!("  {}", row.name)),
            Cell::new(book).style(style),
            Cell::new(age),
            Cell::new(px(row.bid)),
            Cell::new(px(row.ask)),
            Cell::new(row.strategy.as_str()),
            Cell::new(row.regime.as_str()),
            Cell::new(position),
            Cell::new(average),
            pnl,
        ])
    });
    let names =
        ["  symbol", "book", "age", "bid", "ask", "strategy", "regime", "position", "at", "P&L"];
    let widths = [16, 9, 8, 10, 10, 9, 9, 11, 10, 10].map(Constraint::Max);
    let table = Table::new(rows, widths).header(header(names)).column_spacing(1);
    frame.render_widget(table.block(titled("markets")), area);
}

fn draw_orders(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let rows = model.orders.iter().map(|row| {
        let (side, style) = match row.side {
            Side::Buy => ("buy", GOOD),
            Side::Sell => ("sell", WARN),
        };
        let qty = if row.remaining == row.original {
            row.remaining.to_string()
        } else {
            format!("{}/{}", row.remaining, row.original)
        };
        Row::new(vec![
            Cell::new(format!("  {}", row.symbol)),
            Cell::new(side).style(style),
            Cell::new(qty),
            Cell::new(row.px.to_string()),
            Cell::new(row.state.as_str()),
            Cell::new(format!("{:.1} s", row.age_ms as f64 / 1e3)),
        ])
    });
    let widths = [11, 4, 14, 9, 13, 7].map(Constraint::Max);
    let names = ["  symbol", "side", "quantity", "price", "state", "age"];
    let title = format!("own orders: {} open", model.orders.len());
    let table = Table::new(rows, widths).header(header(names)).column_spacing(1);
    frame.render_widget(table.block(titled(&title)), area);
}

fn draw_stages(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let row = |name: &str, p: &crate::ops::metrics::Percentiles, rest: String| {
        Row::new(vec![
            Cell::new(name.to_owned()),
            Cell::new(span_ns(p.p50)),
            Cell::new(span_ns(p.p99)),
            Cell::new(span_ns(p.max)),
            Cell::new(rest).style(DIM),
        ])
    };
    let scaled = |p: &crate::ops::metrics::Percentiles| crate::ops::metrics::Percentiles {
        p50: p.p50.map(|ms| ms * 1e6),
        p99: p.p99.map(|ms| ms * 1e6),
        max: p.max.map(|ms| ms * 1e6),
        ..*p
    };
    let stages = model
        .stages
        .iter()
        .map(|stage| row(&stage.name, &stage.latency, format!("{:.0} %", stage.busy * 100.0)));
    let totals = [
        row("T1", &model.t1, "frame → order".to_owned()),
        row("T2", &model.t2, "read → write".to_owned()),
        row("ack", &scaled(&model.ack_ms), "order → venue".to_owned()),
    ];
    let widths = [7, 10, 10, 10, 20].map(Constraint::Max);
    let names = ["stage", "p50", "p99", "max", "busy"];
    let table = Table::new(stages.chain(totals), widths).header(header(names)).column_spacing(1);
    frame.render_widget(table.block(titled("latency")), area);
}

fn draw_counters(frame: &mut ratatui::Frame<'_>, area: Rect, model: &ViewModel) {
    let c = &model.counts;
    let trouble = |count: u64, text: String| {
        let style = if count > 0 { BAD } else { DIM };
        Span::styled(format!("   {text}"), style)
    };
    let data = Line::from(vec![
        Span::raw(format!(
            "  {} frames ({}/s)   {} book updates   CRC {} checked",
            grouped(c.frames),
            grouped(c.frames_per_s),
            grouped(c.book_updates),
            grouped(c.crc_checked),
        )),
        trouble(c.crc_failed, format!("{} failed", c.crc_failed)),
        trouble(c.seq_gaps, format!("{} gaps", c.seq_gaps)),
        trouble(c.reconnects, format!("{} reconnects", c.reconnects)),
        trouble(c.dropped, format!("{} dropped", c.dropped)),
        Span::styled(format!("   {} conflated", grouped(c.conflated)), DIM),
        trouble(c.halts, format!("{} halts", c.halts)),
    ]);
    let orders = Line::from(vec![
        Span::raw(format!(
            "  {} sent   {} acked   {} part   {} filled   {} cancelled",
            c.sent, c.acked, c.partly_filled, c.filled, c.cancelled,
        )),
        trouble(c.rejected, format!("{} rejected", c.rejected)),
        trouble(c.unknown, format!("{} unknown", c.unknown)),
        Span::styled(format!("   {} refused by risk", c.refused), DIM),
    ]);
    let money = Line::from(format!(
        "  P&L {:+.2} {}   fees {:.2}",
        model.pnl.to_f64(),
        model.currency,
        model.fees.to_f64()
    ));
    frame.render_widget(Paragraph::new(vec![data, orders, money]).block(titled("counters")), area);
}

#[cfg(test)]
mod tests {
    use super::super::model::*;
    use super::*;
    use crate::base::units::{Px, Qty};
    use crate::model::Rank;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    fn model() -> ViewModel {
        ViewModel {
            environment: "embedded".to_owned(),
            market: "synthetic:1".to_owned(),
            speed: "×1".to_owned(),
            mode: "paper".to_owned(),
            elapsed_s: 75,
            symbols: vec![
                SymbolRow {
                    name: "tBTCUSD".to_owned(),
                    strategy: "maker".to_owned(),
                    book: BookHealth::Synced,
                    age_ms: Some(12),
                    bid: Some(Px::from_whole(64_000)),
                    ask: Some(Px::from_whole(64_001)),
                    regime: "balanced".to_owned(),
                    position: Qty::parse("0.03").unwrap(),
                    ..SymbolRow::default()
                },
                SymbolRow {
                    name: "tETHUSD".to_owned(),
                    book: BookHealth::Unsynced,
                    ..SymbolRow::default()
                },
            ],
            orders: vec![OrderRow {
                cid: 1,
                symbol: "tBTCUSD".to_owned(),
                side: Side::Buy,
                remaining: Qty::parse("0.004").unwrap(),
                original: Qty::parse("0.01").unwrap(),
                px: Px::from_whole(63_990),
                state: "partly filled".to_owned(),
                age_ms: 2_300,
            }],
            stages: vec![StageRow { name: "parse".to_owned(), ..StageRow::default() }],
            messages: vec!["12:00:00 hello".to_owned()],
            ..ViewModel::default()
        }
    }

    fn picture(model: &ViewModel, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_picture_shows_markets_orders_latency_and_counters() {
        let text = picture(&model(), 120, 36);
        for part in [
            "genesis",
            "running",
            "tBTCUSD",
            "synced",
            "UNSYNCED",
            "64001",
            "balanced",
            "0.004/0.01",
            "partly filled",
            "T1",
            "0 gaps",
            "12:00:00 hello",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("halted"));
    }

    #[test]
    fn a_state_that_is_not_running_has_a_banner() {
        let mut model = model();
        model.rank = Rank::Halted;
        model.notice = "input log full".to_owned();
        assert!(picture(&model, 120, 36).contains("halted: input log full"));
    }

    #[test]
    fn any_size_of_terminal_is_drawn_on() {
        for (width, height) in [(80, 24), (40, 10), (10, 3), (1, 1), (300, 100)] {
            picture(&model(), width, height);
        }
    }

    #[test]
    fn q_and_control_c_stop_and_other_keys_do_not() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(asks_to_stop(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(asks_to_stop(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!asks_to_stop(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!asks_to_stop(&Event::Resize(3, 4)));
    }
}
