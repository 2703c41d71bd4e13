//! What differences can bring about, and what they cannot.

use super::*;
use crate::mechanism::Mechanism as M;

fn weight(diff: &str, file: &str, mechanism: M) -> f64 {
    read(diff, &[file.to_owned()], "").effects.get(&mechanism).map_or(0.0, |effect| effect.weight)
}

#[test]
fn each_mechanism_is_read_from_its_lines() {
    for (diff, file, mechanism) in [
        ("@@ func f\n \tfor _, x := range xs {\n+\t\ty, err := c.db.QueryRow(ctx, x)\n \t}", "a/f.go", M::FanOut),
        ("-\tif r.Info == nil {\n-\t\treturn \"\"\n-\t}\n \treturn r.Info.Name", "a/f.go", M::NilAccess),
        ("-    if user is None:\n-        return\n     print(user.name)", "a/f.py", M::NilAccess),
        ("-\tl.mu.Lock()\n-\tdefer l.mu.Unlock()\n \tl.seen[k]++", "a/f.go", M::Race),
        ("+var seen []entry\n+\n+func note(e entry) {\n+\tseen = append(seen, e)\n+}", "a/f.go", M::MemoryGrowth),
        ("-    timeout: 5000\n+    timeout: 50", "conf/app.yaml", M::Timeout),
        ("-  maxPoolSize: 50\n+  maxPoolSize: 5", "conf/app.yaml", M::PoolExhausted),
        ("-\tdb.SetMaxOpenConns(100)\n+\tdb.SetMaxOpenConns(2)", "a/db.go", M::PoolExhausted),
        ("-\tdefer rows.Close()\n", "a/db.go", M::PoolExhausted),
        ("-\tif v, ok := s.cache.Get(k); ok {\n-\t\treturn v\n-\t}\n", "a/s.go", M::CacheLoss),
        ("-const maxRetries = 2\n+const maxRetries = 20", "a/s.go", M::RetryStorm),
        ("+\ttime.Sleep(200 * time.Millisecond)", "a/s.go", M::Slow),
        ("-\tName string `json:\"name\"`\n+\tName string `json:\"title\"`", "a/s.go", M::Schema),
        ("-host: db.internal\n+host: db2.internal", "conf/app.yaml", M::NameLookup),
        ("+ALTER TABLE orders DROP COLUMN note;", "db/7.sql", M::Schema),
        ("-    limits:\n-      memory: 512Mi\n+    limits:\n+      memory: 128Mi", "deploy/a.yaml", M::MemoryGrowth),
        ("-\tfor i := 0; i < n; i++ {\n+\tfor i := 0; i <= n; i++ {", "a/s.go", M::IndexRange),
    ] {
        assert!(
            weight(diff, file, mechanism) >= 1.5,
            "{mechanism:?}: {diff}\n{:?}",
            read(diff, &[file.to_owned()], "").effects
        );
    }
}

#[test]
fn what_cannot_break_anything_brings_about_nothing() {
    for (diff, file) in [
        ("-.a { padding: 1px; }\n+.a { padding: 2px; }", "web/a.css"),
        ("+t.Run(\"x\", func(t *testing.T) { panic(1) })", "a/f_test.go"),
        ("-// old words\n+// new words about a lock()", "a/f.go"),
        ("-\tfoo(a)\n-\tbar(b)\n+\tbar(b)\n+\tfoo(a)", "a/f.go"),
        ("+# timeouts\nexplained", "docs/timeouts.md"),
    ] {
        let reading = read(diff, &[file.to_owned()], "");
        assert!(reading.effects.is_empty(), "{file}: {:?}", reading.effects);
    }
    assert!(read("", &["docs/a.md".to_owned()], "docs: x").inert);
    assert!(read("", &[], "style: gofmt").inert);
}

#[test]
fn tidying_error_handling_takes_no_check_away() {
    let diff = "-\tvar req R\n-\tif err := json.NewDecoder(r.Body).Decode(&req); err != nil {\n-\t\thttp.Error(w, err.Error(), 400)\n-\t\treturn\n-\t}\n-\tx, err := h.b.Place(r.Context(), req)\n-\tif err != nil { http.Error(w, err.Error(), 502); return }\n+\treq, err := decode[R](r)\n+\tif err != nil {\n+\t\twriteError(w, 400, err)\n+\t\treturn\n+\t}\n+\tx, err := h.b.Place(r.Context(), req)\n+\tif err != nil {\n+\t\twriteError(w, 502, err)\n+\t\treturn\n+\t}";
    for mechanism in [M::NilAccess, M::Race, M::FanOut, M::MemoryGrowth, M::CacheLoss, M::PoolExhausted] {
        assert_eq!(weight(diff, "a/handler.go", mechanism), 0.0, "{mechanism:?}");
    }
}

#[test]
fn a_patch_version_is_hardly_suspected_and_a_major_one_is() {
    let patch = weight("-\tx/y v1.62.0\n+\tx/y v1.62.1", "go.mod", M::Errors);
    let major = weight("-\tx/y v1.62.0\n+\tx/y v2.0.0", "go.mod", M::Errors);
    assert!(patch > 0.0 && patch < 0.3 && major > 0.8, "{patch} {major}");
}

#[test]
fn a_bounded_container_does_not_leak() {
    let diff = "+const maxSeen = 256\n+var seen = lru.New(maxSeen)\n+func note(k string) {\n+\tseen.Add(k, 1)\n+}";
    assert_eq!(weight(diff, "a/f.go", M::MemoryGrowth), 0.0);
}
