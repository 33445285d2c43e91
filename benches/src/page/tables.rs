//! The figures behind the pictures.

use super::bars::more;
use super::html::{above, at_most, escape, grouped, judged, percent, ratio, table};
use crate::backend::Measured;
use crate::bar::{Baseline, Verdict};
use crate::growth::Series;
use crate::report::Announced;
use crate::socket::{Compared, Latency};
use crate::upkeep::Updates;

/// Cost inside a backend.
pub(super) fn backend(all: &[Measured]) -> String {
    let rows: Vec<Vec<String>> = all.iter().map(backend_row).collect();
    format!(
        "<h4>The figures</h4>\n<p class=\"soft\">µs of a call (of a row for create_many); ratio ± spread, below it what is allowed \
         and the kind of plan that was faster. HOT: the share of HOT updates in the race, and on the table as it was created.</p>\n{}",
        table(
            &["operation", "µs", "noise", "× kept", "× PL/pgSQL", "× one-shot", "× floor", "floor µs", "HOT", "fill&shy;factor", "calls"],
            &rows
        )
    )
}

fn backend_row(m: &Measured) -> Vec<String> {
    let find = |baseline| m.against.iter().find(|c| c.baseline == baseline);
    let cell = |baseline| {
        find(baseline).map_or(String::new(), |c| {
            let below: Vec<String> = c
                .allowed
                .map(at_most)
                .into_iter()
                .chain(c.plan.map(str::to_owned))
                .collect();
            above(&ratio(&c.ratio, c.verdict), &below.join(", "))
        })
    };
    let floor = find(Baseline::Floor).map_or(String::new(), |c| {
        let keys = match m.foreign_keys {
            0 => String::new(),
            1 => "1 key".to_owned(),
            n => format!("{n} keys"),
        };
        above(&format!("{:.2}", c.time.median), &keys)
    });
    let hot = m.hot.map_or(String::new(), |hot| {
        let created = m.hot_as_created;
        above(
            &format!("{:.0}\u{a0}%", hot * 100.0),
            &created.map_or(String::new(), |hot| {
                format!("as created {:.0}\u{a0}%", hot * 100.0)
            }),
        )
    });
    vec![
        above(
            &format!("<b>{}</b> {}", m.entity, escape(&m.kind)),
            &escape(more(m)),
        ),
        above(
            &format!("{:.2}", m.ours.median),
            &format!("±\u{a0}{:.2}", m.ours.spread),
        ),
        percent(m.noise()),
        cell(Baseline::Kept),
        cell(Baseline::PlPgSql),
        cell(Baseline::OneShot),
        cell(Baseline::Floor),
        floor,
        hot,
        m.fillfactor.to_string(),
        grouped(m.calls.into()),
    ]
}

/// Over the socket.
pub(super) fn socket(all: &[Compared]) -> String {
    let path = |latency: &Latency| {
        above(
            &format!(
                "<span>{:.0} / {:.0} / {:.0}</span>",
                latency.p50, latency.p95, latency.p99
            ),
            &format!("{} calls/s", grouped(latency.throughput as u64)),
        )
    };
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|c| {
            let mut row = vec![
                above(
                    &format!("<b>{}</b>", escape(&c.what)),
                    &format!("{}, fillfactor {}", c.conditions, c.fillfactor),
                ),
                path(&c.ours),
                path(&c.client),
            ];
            row.extend(c.ratios.iter().map(|j| {
                let noise = format!("noise {}", percent(j.control.noise()));
                let below = match j.allowed {
                    Some(allowed) => format!("{}, {noise}", at_most(allowed)),
                    None => noise,
                };
                above(&ratio(&j.ratio, j.verdict), &below)
            }));
            row
        })
        .collect();
    format!(
        "<h4>The figures</h4>\n<p class=\"soft\">Ratios: ours as a share of the client’s, ± spread; below, what is allowed, and the \
         noise of that very quantity.</p>\n{}",
        table(
            &[
                "operation",
                "ours: µs p50 / p95 / p99",
                "client: µs p50 / p95 / p99",
                "p50",
                "p95",
                "p99",
                "time a call",
            ],
            &rows,
        )
    )
}

/// What announcements cost.
pub(super) fn notify(all: &[Announced]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| {
            let rate = |rate: f64, spread: f64| {
                above(
                    &grouped(rate as u64),
                    &format!("±\u{a0}{}", percent(spread)),
                )
            };
            let mut row = vec![a.connections.to_string()];
            for i in 0..2 {
                row.push(rate(a.off[i], a.off_spread[i]));
                row.push(rate(a.on[i], a.on_spread[i]));
                row.push(format!("{:.2}", a.on[i] / a.off[i]));
            }
            row.push(a.pairs.to_string());
            row.push(percent(a.noise));
            row
        })
        .collect();
    table(
        &[
            "connec&shy;tions",
            "ours, notify off",
            "on",
            "on / off",
            "client, without pg_notify",
            "with",
            "with / without",
            "pairs",
            "noise",
        ],
        &rows,
    )
}

/// Growth.
pub(super) fn growth(all: &[Series]) -> String {
    // One that ended early has fewer sizes than the others.
    let sizes: Vec<u32> = all
        .iter()
        .max_by_key(|s| s.points.len())
        .map(|s| s.points.iter().map(|p| p.rows).collect())
        .unwrap_or_default();
    let mut head: Vec<String> = vec!["operation".to_owned()];
    head.extend(
        sizes
            .iter()
            .map(|&rows| format!("{} rows: µs p50 / p99", grouped(rows.into()))),
    );
    head.extend(["fewest to most", "p99 / p50", "pages a call"].map(str::to_owned));
    let rows: Vec<Vec<String>> = all.iter().map(|s| growth_row(s, &sizes)).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    format!(
        "<h4>The figures</h4>\n<p class=\"soft\">Below each size: its median as a share of that of the size before, and what is \
         allowed.</p>\n{}",
        table(&head, &rows)
    )
}

fn growth_row(s: &Series, sizes: &[u32]) -> Vec<String> {
    let conditions = s.points.last().map_or(String::new(), |p| {
        format!(
            "{} calls, {} pairs, fillfactor {}",
            grouped(p.calls.into()),
            p.pairs,
            s.fillfactor
        )
    });
    let mut row = vec![above(&format!("<b>{}</b>", escape(&s.what)), &conditions)];
    for &rows in sizes {
        let Some(p) = s.points.iter().find(|p| p.rows == rows) else {
            row.push(String::new());
            continue;
        };
        let step = s.steps.iter().find(|step| step.rows == rows);
        row.push(above(
            &format!(
                "<span>{:.1} ± {:.1} / {:.1}</span>",
                p.p50.median, p.p50.spread, p.p99.median
            ),
            &step.map_or(String::new(), |step| {
                grown(step.growth, step.allowed, step.verdict)
            }),
        ));
    }
    row.push(above(
        &judged(&format!("{:.2}", s.growth), s.verdict),
        &(at_most(s.allowed) + &floor(s)),
    ));
    let tail = s
        .points
        .last()
        .map_or(f64::NAN, |p| p.p99.median / p.p50.median);
    row.push(above(
        &judged(&format!("{tail:.2}"), s.tail()),
        &at_most(crate::growth::TAIL),
    ));
    let pages: Vec<String> = s
        .points
        .iter()
        .filter_map(|p| p.pages)
        .map(|n| format!("{n:.1}"))
        .collect();
    let (Some(growth), Some(allowed)) = (s.pages_growth, s.pages_allowed) else {
        row.push(pages.join(" → "));
        return row;
    };
    row.push(above(
        &format!("<span>{}</span>", pages.join(" → ")),
        &grown(growth, allowed, s.pages_verdict),
    ));
    row
}

/// What the floor of a get grows by.
fn floor(s: &Series) -> String {
    s.floor_growth
        .map_or(String::new(), |growth| format!("; the floor {growth:.2}"))
}

/// `× 1.10 ✓ ≤ 1.30`.
fn grown(growth: f64, allowed: f64, verdict: Verdict) -> String {
    format!(
        "× {} {}",
        judged(&format!("{growth:.2}"), verdict),
        at_most(allowed)
    )
}

/// What many updates leave behind.
pub(super) fn upkeep(all: &[Updates]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|u| {
            vec![
                above(
                    &format!("<b>{}</b>", escape(u.what)),
                    &format!(
                        "{} rows, fillfactor {}",
                        grouped(u.rows.into()),
                        u.fillfactor
                    ),
                ),
                grouped(u.calls.into()),
                u.vacuums.to_string(),
                judged(&percent(u.hot), u.hot_verdict()),
                above(
                    &judged(
                        &format!("{:.1} → {:.1}", u.before, u.after),
                        u.size_verdict(),
                    ),
                    &format!("≤ {:.1}", u.size_allowed),
                ),
                format!(
                    "<span>{:.0} → {:.0}</span>",
                    u.memory_before, u.memory_after
                ),
                format!(
                    "<span>{:.0} → {:.0}</span>",
                    u.resident_before, u.resident_after
                ),
                above(
                    &judged(&format!("{:.0}", u.grown()), u.memory_verdict()),
                    &format!("≤ {:.0}", u.memory_allowed),
                ),
            ]
        })
        .collect();
    table(
        &[
            "call",
            "calls",
            "auto&shy;vacuum runs",
            "HOT",
            "table, MB",
            "memory contexts, kB",
            "private memory of the process, kB",
            "growth of the greater, kB",
        ],
        &rows,
    )
}
