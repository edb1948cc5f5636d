//! The exchange neither makes nor loses money.

use crate::exchange::Exchange;
use crate::model::Currency;
use std::collections::BTreeMap;

pub const NAME: &str = "money is conserved";

#[derive(Debug, Default)]
pub struct Money {
    totals: Option<BTreeMap<Currency, i128>>,
}

impl Money {
    pub fn look(&mut self, exchange: &Exchange) -> Result<(), String> {
        let totals = exchange.totals();
        match &self.totals {
            None => self.totals = Some(totals),
            Some(first) if *first != totals => {
                return Err(format!("{first:?} became {totals:?}"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}
