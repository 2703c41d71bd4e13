//! What shoppers ask for, and when. Must never depend on how earlier requests went.

use crate::rng::Rng;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Fastest traffic that one client makes, in requests a second.
const RATE_MAX: f64 = 400.0;
/// Things in the shop.
const IDS: u64 = 200;

/// Two kinds of use that people notice separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Browse,
    Buy,
}

/// Rate in requests a second and shares of the kinds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    pub(crate) rate: f64,
    pub(crate) buy: f64,
    pub(crate) search: f64,
}

/// One request that is due.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) class: Class,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// A field without which the answer is worthless.
    pub(crate) expects: &'static str,
    pub(crate) due: Instant,
}

impl Mix {
    /// Seconds to the next request: Poisson arrivals with a slow swell.
    pub(crate) fn gap(&self, rng: &mut Rng) -> f64 {
        let swell = rng.range(0.9, 1.1);
        rng.exponential(1.0 / (self.rate * swell)).min(2.0)
    }

    pub(crate) fn request(&self, rng: &mut Rng, due: Instant) -> Request {
        let (id, what) = (rng.whole(1, IDS), rng.unit());
        let (class, method, path, expects) = if what < self.buy {
            (Class::Buy, "POST", format!("/checkout/{id}"), "order_id")
        } else if what < self.buy + self.search {
            (Class::Browse, "GET", format!("/search/{id}"), "hits")
        } else if what > 0.92 {
            (Class::Browse, "GET", "/".to_owned(), "home")
        } else {
            (Class::Browse, "GET", format!("/products/{id}"), "price")
        };
        Request { class, method, path, expects, due }
    }

    /// `traffic rate=R [buy=S] [search=S]`.
    pub(crate) fn change(&mut self, line: &str) -> Result<(), String> {
        let mut next = self.clone();
        for word in line.split_whitespace().skip(1) {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("not key=value: {word}"))?;
            let value: f64 = value.parse().map_err(|_| format!("not a number: {word}"))?;
            let (field, max) = match key {
                "rate" => (&mut next.rate, RATE_MAX),
                "buy" => (&mut next.buy, 1.0),
                "search" => (&mut next.search, 1.0),
                _ => return Err(format!("unknown key: {key}")),
            };
            if !(value > 0.0 && value <= max) {
                return Err(format!("out of range: {word}"));
            }
            *field = value;
        }
        *self = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_follows_its_shares_and_commands() {
        let mut mix = Mix { rate: 40.0, buy: 0.3, search: 0.2 };
        let mut rng = Rng::new(3, "mix");
        let now = Instant::now();
        let bought = (0..2000).filter(|_| mix.request(&mut rng, now).class == Class::Buy).count();
        assert!((500..700).contains(&bought), "{bought}");
        let mean: f64 = (0..2000).map(|_| mix.gap(&mut rng)).sum::<f64>() / 2000.0;
        assert!((0.02..0.03).contains(&mean), "{mean}");
        assert_eq!(mix.change("traffic rate=90 search=0.5"), Ok(()));
        assert_eq!(mix, Mix { rate: 90.0, buy: 0.3, search: 0.5 });
        for line in ["traffic rate=0", "traffic rate=9999", "traffic buy=2", "traffic x=1", "traffic rate"] {
            assert!(mix.change(line).is_err(), "{line}");
        }
    }
}
