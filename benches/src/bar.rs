//! The bars: how much of a baseline's time an operation may take. They are the project's
//! promises; a run only measures against them.

use crate::entity::Kind;
use crate::stats::Figure;
use serde::Serialize;

/// What an operation is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// SPI with a kept plan.
    Kept,
    /// The same statement in PL/pgSQL.
    PlPgSql,
    /// SPI, parsed and planned at each call.
    OneShot,
    /// The least that PostgreSQL can do: COPY, or a bare probe.
    Floor,
    /// The same statement, prepared by the client.
    Client,
}

impl Baseline {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::PlPgSql => "PL/pgSQL",
            Self::OneShot => "one-shot",
            Self::Floor => "floor",
            Self::Client => "client",
        }
    }
}

/// Microseconds that a native foreign key check may cost, for each key that is not NULL.
pub const FOREIGN_KEY: f64 = 1.6;

/// The greatest share of the baseline's time that is allowed, if there is a bar; of the floor
/// of a new row, before foreign keys are added.
#[must_use]
pub fn bar(kind: Kind, against: Baseline) -> Option<f64> {
    use Baseline::{Floor, Kept, OneShot};
    Some(match (kind, against) {
        (Kind::Create, Kept) => 0.45,
        (Kind::Create, OneShot) => 0.25,
        (Kind::Create, Floor) => 1.3,
        (Kind::Get | Kind::GetNear, Kept) => 0.48,
        (Kind::Get | Kind::GetNear, OneShot) => 0.15,
        (Kind::Get | Kind::GetNear, Floor) => 1.6,
        (Kind::Update, Kept) => 0.60,
        (Kind::Update, OneShot) => 0.35,
        (Kind::Hot, Kept) => 0.50,
        (Kind::Hot, OneShot) => 0.25,
        (Kind::List, Kept) => 0.65,
        (Kind::List, OneShot) => 0.55,
        (Kind::Many, Floor) => 1.1,
        (Kind::Lock, Kept) => 0.60,
        _ => return None,
    })
}

/// The bar as a share of the baseline's time, once foreign keys are added: `floor` is the
/// baseline's time in microseconds.
#[must_use]
pub fn allowed(kind: Kind, against: Baseline, foreign_keys: u32, floor: f64) -> Option<f64> {
    let bar = bar(kind, against)?;
    Some(match against {
        Baseline::Floor => bar + FOREIGN_KEY * f64::from(foreign_keys) / floor,
        _ => bar,
    })
}

/// What a get by id may become as a share of a kept plan's time, beyond its bar: a goal that is
/// shown, not judged.
pub const STRETCH_GET: f64 = 0.40;

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// There is no bar.
    None,
    /// Within the bar.
    Met,
    /// Beyond the bar, by less than the run's own spread.
    Near,
    /// Beyond the bar by this share of the bar, the spread taken off.
    Missed {
        /// 0.1 is ten per cent slower than allowed.
        by: f64,
    },
    /// The machine was too noisy to compare.
    Noisy,
}

/// The greatest noise of the control pair with which a run still compares: see
/// [`Figure::noise`].
pub const NOISE: f64 = 0.10;

/// Judges a ratio. `noise` is the spread of the control pair: the same thing measured twice.
#[must_use]
pub fn judge(ratio: &Figure, allowed: Option<f64>, noise: f64) -> Verdict {
    let Some(allowed) = allowed else {
        return Verdict::None;
    };
    if noise.is_nan() || noise > NOISE {
        Verdict::Noisy
    } else if ratio.median <= allowed {
        Verdict::Met
    } else if ratio.median - ratio.spread <= allowed {
        Verdict::Near
    } else {
        Verdict::Missed {
            by: (ratio.median - ratio.spread) / allowed - 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let figure = |median| Figure {
            median,
            spread: 0.02,
        };
        assert_eq!(judge(&figure(0.4), Some(0.45), 0.01), Verdict::Met);
        assert_eq!(judge(&figure(0.46), Some(0.45), 0.01), Verdict::Near);
        let Verdict::Missed { by } = judge(&figure(0.92), Some(0.45), 0.01) else {
            panic!("not missed");
        };
        assert!((by - 1.0).abs() < 1e-9);
        assert_eq!(judge(&figure(0.4), Some(0.45), 0.11), Verdict::Noisy);
        assert_eq!(judge(&figure(0.4), None, 0.5), Verdict::None);
    }

    #[test]
    fn foreign_keys_are_added_to_the_floor() {
        let allowed = allowed(Kind::Create, Baseline::Floor, 2, 4.0);
        assert!(allowed.is_some_and(|share| (share - 2.1).abs() < 1e-9));
    }
}
