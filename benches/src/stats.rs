//! Medians and spreads.

use serde::Serialize;

/// The value below which a share of the sorted values lies, by linear interpolation; NaN
/// without values.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    sorted[low] + (sorted[(low + 1).min(last)] - sorted[low]) * part
}

/// A median with its spread.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// Median.
    pub median: f64,
    /// Half the distance between the quartiles: half of all values lie within this much of
    /// their middle.
    pub spread: f64,
}

impl Figure {
    /// Of values in any order.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: quantile(&values, 0.5),
            spread: (quantile(&values, 0.75) - quantile(&values, 0.25)) / 2.0,
        }
    }

    /// How far two series of the same thing are from being the same, for their ratio: the
    /// greater of its distance from 1 and of its spread.
    #[must_use]
    pub fn noise(&self) -> f64 {
        (self.median - 1.0).abs().max(self.relative())
    }

    /// The spread as a share of the median.
    #[must_use]
    pub fn relative(&self) -> f64 {
        self.spread / self.median
    }
}

/// The ratio of two series that were measured in turn, pair by pair.
#[must_use]
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Figure {
    Figure::of(ours.iter().zip(theirs).map(|(a, b)| a / b).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_and_medians() {
        let figure = Figure::of(vec![4.0, 1.0, 2.0, 3.0, 5.0]);
        assert!((figure.median - 3.0).abs() < 1e-9);
        assert!((figure.spread - 1.0).abs() < 1e-9);
        assert!((ratio(&[1.0, 2.0], &[2.0, 4.0]).median - 0.5).abs() < 1e-9);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_steady_difference_is_noise_too() {
        let noise = |values: &[f64]| Figure::of(values.to_vec()).noise();
        assert!((noise(&[1.25, 1.26, 1.25, 1.24, 1.25]) - 0.25).abs() < 1e-9);
        assert!((noise(&[0.8, 1.0, 1.2]) - 0.1).abs() < 1e-9);
    }
}
