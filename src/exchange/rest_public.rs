//! Public REST endpoints.

use super::core::{Core, TouchSample};
use super::json::{Json, push_text};
use super::levels::{Window, push_snapshot};
use super::market::capture::digits_of;
use super::number::{push_i64, push_number, read_number};
use super::rest::{HttpReply, Range, Reply, bad, parameter};
use super::tape::{frame_of, push_candle, push_list, push_trade};
use super::wire::push_wide;
use crate::base::units::Side;
use crate::model::Currency;

/// A parameter of the query, else of a JSON body; numbers as their text.
fn asked(query: &str, body: &[u8], key: &str) -> Option<String> {
    parameter(query, key).or_else(|| match Json::parse(body)?.given(key)? {
        Json::Text(text) => Some(text.to_string()),
        Json::Number(text) => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    })
}

impl Core {
    pub(super) fn serve_public(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Reply {
        let parts: Vec<&str> = path.split('/').collect();
        let symbol = |name: &str| self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"));
        let mut out = Vec::new();
        match parts[..] {
            ["platform", "status"] => {
                out.extend_from_slice(if self.in_maintenance { b"[0]" } else { b"[1]" });
            }
            ["conf", keys] => self.push_conf(keys, &mut out),
            ["tickers", "hist"] => {
                let wanted = parameter(query, "symbols").unwrap_or_default();
                let range = Range::of_query(query, 125, 250)?;
                self.push_ticker_history(&wanted, &range, &mut out);
            }
            ["tickers"] => {
                let wanted = parameter(query, "symbols").unwrap_or_default();
                let all = wanted == "ALL";
                let names: Vec<&str> = wanted.split(',').collect();
                let symbols = (0..self.listings.len() as u16)
                    .filter(|symbol| all || names.contains(&self.symbol_name(*symbol)));
                push_list(&mut out, symbols, |out, symbol| {
                    out.extend_from_slice(b"[\"");
                    out.extend_from_slice(self.symbol_name(symbol).as_bytes());
                    out.extend_from_slice(b"\",");
                    self.push_ticker_fields(symbol, out);
                    out.push(b']');
                });
            }
            ["ticker", name] => {
                let symbol = symbol(name)?;
                out.push(b'[');
                self.push_ticker_fields(symbol, &mut out);
                out.push(b']');
            }
            ["book", name, prec] => {
                let symbol = symbol(name)?;
                let len = match parameter(query, "len").as_deref() {
                    None => 25,
                    Some("1") => 1,
                    Some("25") => 25,
                    Some("100") => 100,
                    Some("250") => 250,
                    Some(_) => return Err(bad("len: invalid")),
                };
                let mut window = Window::default();
                let depth = &self.listing(symbol).depth;
                let is_raw = prec == "R0";
                if is_raw {
                    if !depth.fill_raw_window(len, &mut window) {
                        return Err(bad("prec: invalid"));
                    }
                } else {
                    let digits = digits_of(prec).ok_or_else(|| bad("prec: invalid"))?;
                    depth.fill_window(digits, len, &mut window);
                }
                push_snapshot(&mut out, &window, is_raw);
            }
            ["trades", name, "hist"] => {
                let symbol = symbol(name)?;
                let range = Range::of_query(query, 125, 10_000)?;
                let trades = range.pick(self.listing(symbol).tape.trades(), |trade| trade.mts);
                push_list(&mut out, trades.into_iter(), push_trade);
            }
            ["candles", key, section] => self.push_candles(key, section, query, &mut out)?,
            ["status", "deriv"] => {
                let wanted = parameter(query, "keys").unwrap_or_default();
                let names: Vec<&str> = wanted.split(',').collect();
                let symbols = (0..self.listings.len() as u16).filter(|symbol| {
                    let listing = self.listing(*symbol);
                    let named = wanted == "ALL" || names.contains(&listing.spec.name.as_str());
                    named && listing.is_derivative()
                });
                push_list(&mut out, symbols, |out, symbol| {
                    let mut row = Vec::new();
                    self.push_status_row(symbol, &mut row);
                    out.extend_from_slice(b"[\"");
                    out.extend_from_slice(self.symbol_name(symbol).as_bytes());
                    out.extend_from_slice(b"\",");
                    out.extend_from_slice(&row[1..]);
                });
            }
            ["status", "deriv", name, "hist"] => {
                let symbol = symbol(name)?;
                let range = Range::of_query(query, 125, 5_000)?;
                let marks = self.listing(symbol).marks.iter().rev();
                let rows = range.pick(marks, |(mts, _)| *mts);
                push_list(&mut out, rows.into_iter(), |out, (mts, mark)| {
                    self.push_status_at(symbol, *mts, *mark, out);
                });
            }
            ["stats1", key, section] => self.push_stats(key, section, &mut out)?,
            ["liquidations", "hist"] => {
                let range = Range::of_query(query, 120, 500)?;
                let rows = range.pick(self.liquidations.iter().rev(), |row| row.mts);
                push_list(&mut out, rows.into_iter(), |out, row| {
                    out.push(b'[');
                    row.push_array(out, self.symbol_name(row.symbol), true);
                    out.push(b']');
                });
            }
            // Funding has no market here: nothing to tell of.
            ["funding", "stats", _, "hist"] | ["rankings", _, _] | ["pulse", "hist"] => {
                out.extend_from_slice(b"[]");
            }
            // Both take their parameters from the query or from a body.
            ["calc", "trade", "avg"] => self.push_average(query, body, &mut out)?,
            ["calc", "fx"] => {
                let currency = |key: &str| Currency::new(&asked(query, body, key)?);
                let (Some(from), Some(to)) = (currency("ccy1"), currency("ccy2")) else {
                    return Err(bad("ccy: invalid"));
                };
                out.push(b'[');
                push_wide(&mut out, self.convert(from, to, 100_000_000));
                out.push(b']');
            }
            _ => return Err(HttpReply::not_found(method, &["/v2/", path].concat())),
        }
        Ok(out)
    }
    fn push_candles(
        &self,
        key: &str,
        section: &str,
        query: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let mut parts = key.splitn(3, ':');
        let kind = parts.next().filter(|kind| *kind == "trade");
        let frame = kind.and_then(|_| frame_of(parts.next()?));
        let frame = frame.ok_or_else(|| bad("time_interval: invalid"))?;
        let symbol = parts.next().and_then(|name| self.find_symbol(name));
        let tape = &self.listing(symbol.ok_or_else(|| bad("symbol: invalid"))?).tape;
        match section {
            "last" => match tape.candles(frame).next() {
                Some(candle) => push_candle(out, candle),
                None => out.extend_from_slice(b"[]"),
            },
            "hist" => {
                let range = Range::of_query(query, 100, 10_000)?;
                let rows = range.pick(tape.candles(frame), |candle| candle.mts);
                push_list(out, rows.into_iter(), push_candle);
            }
            _ => return Err(bad("section: invalid")),
        }
        Ok(())
    }
    /// Best bid and ask at full hours: `[SYMBOL,BID,_,ASK,_×8,MTS]`, newest first.
    fn push_ticker_history(&self, wanted: &str, range: &Range, out: &mut Vec<u8>) {
        let names: Vec<&str> = wanted.split(',').collect();
        let mut samples: Vec<(&str, &TouchSample)> = Vec::new();
        for listing in &self.listings {
            let name = listing.spec.name.as_str();
            if wanted == "ALL" || names.contains(&name) {
                samples.extend(listing.touches.iter().map(|touch| (name, touch)));
            }
        }
        samples.sort_by_key(|(_, touch)| std::cmp::Reverse(touch.mts));
        let rows = range.pick(samples.into_iter(), |(_, touch)| touch.mts);
        push_list(out, rows.into_iter(), |out, (name, touch)| {
            out.push(b'[');
            push_text(out, name);
            out.push(b',');
            push_number(out, touch.bid);
            out.extend_from_slice(b",null,");
            push_number(out, touch.ask);
            out.extend_from_slice(b",null,null,null,null,null,null,null,null,");
            push_i64(out, touch.mts);
            out.push(b']');
        });
    }
    /// Positions held here, by side: `pos.size:1m:tBTCUSD:long`. Everything else is zero.
    fn push_stats(&self, key: &str, section: &str, out: &mut Vec<u8>) -> Result<(), HttpReply> {
        let parts: Vec<&str> = key.split(':').collect();
        let has_funding = parts.len() == 3 && parts[2].starts_with('f');
        if has_funding {
            return self.push_stat(0, section, out);
        }
        let is_size = parts.first() == Some(&"pos.size");
        let (name, side) = match parts[..] {
            [_, _, base, quote, side] => ([base, ":", quote].concat(), side),
            [_, _, name, side] => (name.to_owned(), side),
            _ => return Err(bad("key: invalid")),
        };
        let symbol = self.find_symbol(&name).ok_or_else(|| bad("symbol: invalid"))?;
        let is_long = match side {
            "long" => true,
            "short" => false,
            _ => return Err(bad("side: invalid")),
        };
        let positions = self.bank.accounts.iter().filter_map(|a| a.positions.get(&symbol));
        let sized = positions.filter(|position| is_size && (position.qty > 0) == is_long);
        let size: i128 = sized.map(|position| i128::from(position.qty).abs()).sum();
        self.push_stat(size, section, out)
    }
    fn push_stat(&self, size: i128, section: &str, out: &mut Vec<u8>) -> Result<(), HttpReply> {
        let mut row = b"[".to_vec();
        push_i64(&mut row, self.now_ms().div_euclid(60_000) * 60_000);
        row.push(b',');
        push_wide(&mut row, size);
        row.push(b']');
        match section {
            "last" => out.extend_from_slice(&row),
            "hist" => {
                out.push(b'[');
                out.extend_from_slice(&row);
                out.push(b']');
            }
            _ => return Err(bad("section: invalid")),
        }
        Ok(())
    }
    /// `[AVERAGE,AMOUNT]` of a market order of that amount now.
    fn push_average(&self, query: &str, body: &[u8], out: &mut Vec<u8>) -> Result<(), HttpReply> {
        let name = asked(query, body, "symbol").unwrap_or_default();
        let symbol = self.find_symbol(&name).ok_or_else(|| bad("symbol: invalid"))?;
        let amount = asked(query, body, "amount");
        let amount = amount.and_then(|text| read_number(text.as_bytes())).map_or(0, |(raw, _)| raw);
        if amount == 0 || amount == i64::MIN {
            return Err(bad("amount: invalid"));
        }
        let side = if amount > 0 { Side::Sell } else { Side::Buy };
        let (mut left, mut value) = (amount.abs(), 0i128);
        for front in self.listing(symbol).depth.fronts(side) {
            let fill = left.min(front.qty);
            value += i128::from(front.px) * i128::from(fill);
            left -= fill;
            if left == 0 {
                break;
            }
        }
        let got = amount.abs() - left;
        out.push(b'[');
        push_wide(out, if got == 0 { 0 } else { value / i128::from(got) });
        out.push(b',');
        push_number(out, got * amount.signum());
        out.push(b']');
        Ok(())
    }
}
