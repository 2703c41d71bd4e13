//! Prints what a bundle holds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
fn main() {
    for path in std::env::args().skip(1) {
        let t = std::time::Instant::now();
        let b = opsward_bundle::read(std::path::Path::new(&path), &Default::default()).unwrap();
        let c = &b.case;
        println!("== {path} {:?}\n comps {} alert {:?}\n calls {} series {} logs {} spans {} changes {} events {} patterns {} objects {} monitors {} quiet {}", t.elapsed(),
            c.components.len(), c.alert, c.calls.len(), c.metrics.len(), c.logs.len(), c.spans.len(), c.changes.len(), c.events.len(), c.patterns.len(), b.objects.len(), b.monitors.len(), b.quiet_alerts.len());
        for k in c.components.iter().take(12) { println!("  {} of {:?} on {:?}", k.name, k.service.map(|s| &c.components[s.0 as usize].name), k.node); }
        for m in c.metrics.iter().take(6) { println!("  M {} [{}] {} pts {} first {:?}", m.name, m.unit, m.source, m.points.len(), m.points.first()); }
        for m in c.logs.iter().rev().take(6) { println!("  L {} {:?} {:?} {:?} {}", m.at_ms, m.level, c.components[m.component.0 as usize].name, m.trace, m.message.chars().take(160).collect::<String>()); }
        for m in c.spans.iter().take(4) { println!("  S {m:?}"); }
        for m in c.changes.iter().take(40) { println!("  C {:?} {} {} {:?} {:?} files {} diff {} {}", m.kind, m.at_ms, m.id, m.component.map(|s| &c.components[s.0 as usize].name), m.commit, m.files.len(), m.diff.len(), m.summary); }
        for m in c.events.iter().take(4) { println!("  E {m:?}"); }
        for m in c.patterns.iter().take(3) { println!("  P {m:?}"); }
        for m in &b.looked_at { println!("  + {} {:?}", m.file, m.held); }
        for m in &b.problems { println!("  ! {m:?}"); }
        for m in &b.not_looked_at { println!("  - {m:?}"); }
    }
}
