//! The figures behind the pictures.

use super::{escape, name};
use crate::backend::Measured;
use crate::bar::Baseline;
use crate::growth::Series;
use crate::report::Announced;
use crate::socket::Compared;
use crate::terminal::mark;
use crate::upkeep::Updates;

/// A table; the first `texts` columns are words.
fn table(head: &[&str], texts: usize, rows: &[Vec<String>]) -> String {
    let class = |i: usize| if i < texts { " class=\"t\"" } else { "" };
    let head: String = head
        .iter()
        .enumerate()
        .map(|(i, cell)| format!("<th{}>{cell}</th>", class(i)))
        .collect();
    let body: String = rows
        .iter()
        .map(|row| {
            let cells: String = row
                .iter()
                .enumerate()
                .map(|(i, cell)| format!("<td{}>{cell}</td>", class(i)))
                .collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n")
}

/// Cost inside a backend.
pub(super) fn backend(all: &[Measured]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all.iter().map(backend_row).collect();
    let first = &all[0];
    format!(
        "<h4>The figures</h4>\n<p class=\"soft\">µs of a call (of a row for create_many); ratio ± spread; {} rows of each entity; \
         {} pairs; warm caches.</p>\n{}",
        first.rows,
        first.pairs,
        table(
            &["entity", "operation", "what", "calls", "fillfactor", "HOT", "noise", "µs", "× kept", "× one-shot", "× PL/pgSQL", "× floor", "floor µs", "keys"],
            3,
            &rows
        )
    )
}

fn backend_row(m: &Measured) -> Vec<String> {
    let find = |baseline| m.against.iter().find(|c| c.baseline == baseline);
    let cell = |baseline| {
        find(baseline).map_or(String::new(), |c| {
            format!(
                "<span class=\"{}\">{:.2} ± {:.2} {}</span>",
                name(c.verdict),
                c.ratio.median,
                c.ratio.spread,
                mark(c.verdict)
            )
        })
    };
    vec![
        m.entity.to_owned(),
        escape(m.kind),
        escape(m.title),
        m.calls.to_string(),
        m.fillfactor.to_string(),
        m.hot
            .map_or(String::new(), |hot| format!("{:.0} %", hot * 100.0)),
        format!("{:.1} %", m.noise() * 100.0),
        format!("{:.2}", m.ours.median),
        cell(Baseline::Kept),
        cell(Baseline::OneShot),
        cell(Baseline::PlPgSql),
        cell(Baseline::Floor),
        find(Baseline::Floor).map_or(String::new(), |c| format!("{:.2}", c.time.median)),
        m.foreign_keys.to_string(),
    ]
}

/// Over the socket.
pub(super) fn socket(all: &[Compared]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|c| {
            let mut row = vec![escape(&c.what), c.conditions.to_string()];
            for latency in [&c.ours, &c.client] {
                row.push(format!(
                    "{:.0} / {:.0} / {:.0}",
                    latency.p50, latency.p95, latency.p99
                ));
                row.push(format!("{:.0}", latency.throughput));
            }
            row.extend(c.ratios.iter().map(|judged| {
                format!(
                    "<span class=\"{}\">{:.2} ± {:.2} {}</span>",
                    name(judged.verdict),
                    judged.ratio.median,
                    judged.ratio.spread,
                    mark(judged.verdict)
                )
            }));
            row.push(format!("{:.1} %", c.control.relative() * 100.0));
            row
        })
        .collect();
    table(
        &[
            "operation",
            "conditions",
            "ours µs p50 / p95 / p99",
            "calls/s",
            "client µs p50 / p95 / p99",
            "calls/s",
            "p50",
            "p95",
            "p99",
            "time a call",
            "noise",
        ],
        2,
        &rows,
    )
}

/// What announcements cost.
pub(super) fn notify(all: &[Announced]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| {
            let cost = |i: usize| format!("{:.2}", a.on[i] / a.off[i]);
            vec![
                a.connections.to_string(),
                format!("{:.0}", a.off[0]),
                format!("{:.0}", a.on[0]),
                cost(0),
                format!("{:.0}", a.off[1]),
                format!("{:.0}", a.on[1]),
                cost(1),
            ]
        })
        .collect();
    format!(
        "<h3>What NOTIFY costs</h3>\n<p>Messages a second, each its own transaction, synchronous_commit off. NOTIFY’s lock spans the \
         commit, for us as for everybody.</p>\n{}",
        table(
            &["connections", "ours, notify off", "on", "on / off", "client, without pg_notify", "with", "with / without"],
            0,
            &rows
        )
    )
}

/// Growth.
pub(super) fn growth(all: &[Series]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut head: Vec<String> = vec!["operation".to_owned()];
    for point in &all[0].points {
        head.push(format!(
            "{}k rows: µs p50 / p99",
            f64::from(point.rows) / 1e3
        ));
    }
    head.extend(["growth", "allowed", "", "p99 / p50", "pages a call"].map(str::to_owned));
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|s| {
            let mut row = vec![escape(&s.what)];
            row.extend(
                s.points
                    .iter()
                    .map(|p| format!("{:.1} / {:.1}", p.p50.median, p.p99.median)),
            );
            row.push(format!("{:.2}", s.growth));
            row.push(format!("{:.2}", s.allowed));
            row.push(format!(
                "<span class=\"{}\">{}</span>",
                name(s.verdict),
                mark(s.verdict)
            ));
            let tail = s
                .points
                .last()
                .map_or(f64::NAN, |p| p.p99.median / p.p50.median);
            row.push(format!(
                "<span class=\"{}\">{tail:.2} {}</span>",
                name(s.tail()),
                mark(s.tail())
            ));
            let pages: Vec<String> = s
                .points
                .iter()
                .filter_map(|p| p.pages)
                .map(|n| n.to_string())
                .collect();
            row.push(pages.join(" → "));
            row
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, 1, &rows)
}

/// What many updates leave behind.
pub(super) fn upkeep(all: &[Updates]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|u| {
            let class = if u.met { "met" } else { "missed" };
            vec![
                escape(u.what),
                u.calls.to_string(),
                u.fillfactor.to_string(),
                format!("<span class=\"{class}\">{:.1} %</span>", u.hot * 100.0),
                format!("{:.1} → {:.1} MB", u.before, u.after),
                format!("{:.0} → {:.0} kB", u.memory_before, u.memory_after),
            ]
        })
        .collect();
    format!(
        "<h3>What many updates leave behind</h3>\n<p>Committed in transactions of 1,000, with autovacuum on. 95 % HOT are promised.</p>\n{}",
        table(&["call", "calls", "fillfactor", "HOT", "table", "memory of the backend"], 1, &rows)
    )
}
