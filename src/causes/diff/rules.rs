//! Rules over lines taken out and put in: a guard, a lock, a cache or a release that went, a call inside a loop, a
//! container that only grows. Each says which mechanisms it can bring about. Judges lines, never names.

use super::{Effect, Line, Side};
use crate::mechanism::Mechanism as M;
use crate::signal::cut;

/// Words of calls that leave the process.
const CALLS_OUT: [&str; 22] = [
    "query", "fetch", "http", "client", "select ", "find", "load", "getitem", "get(ctx", "repo", "store", "rpc",
    "exec", "request", "await ", "lookup", "db.", "redis", "invoke", "dial", "send(", ".get(",
];
/// Words that bound a container.
const BOUNDS: [&str; 16] = [
    "evict", "lru", "max", "limit", "ttl", "expire", "trim", "delete", "remove", "pop(", "clear", "bounded",
    "capacity", "truncate", "reset", "shift(",
];

/// Lines of one side that did not merely move.
fn side(lines: &[Line], side: Side) -> impl Iterator<Item = &Line> {
    lines.iter().filter(move |line| line.side == side && !line.moved)
}

fn holds(line: &Line, of: &[&str]) -> bool {
    of.iter().any(|word| line.lower.contains(word))
}

fn says(line: &Line, words: &str) -> bool {
    words.split('|').any(|word| line.lower.contains(word))
}

fn effect(mechanism: M, weight: f64, line: &Line, why: &'static str) -> Effect {
    let mark = if line.side == Side::Removed { '-' } else { '+' };
    Effect { mechanism, weight, line: format!("{mark} {}", cut(line.text.trim(), 160)), why }
}

/// Everything the rules say.
pub(super) fn effects(lines: &[Line]) -> Vec<Effect> {
    let mut found = Vec::new();
    found.extend(gone(lines));
    found.extend(come(lines));
    found.extend(in_loops(lines));
    found.extend(grows(lines));
    found.extend(guards(lines));
    found
}

/// A rule about words that went: at least one line less holds one of them.
struct Gone {
    /// Parted by bars.
    words: &'static str,
    why: &'static str,
    brings: &'static [(M, f64)],
}

const GONE: [Gone; 13] = [
    Gone {
        words: "lock()|mutex|synchronized|rlock(|with lock|with self._lock|atomic|concurrenthashmap|sync.map|.acquire(",
        why: "a lock is taken out",
        brings: &[(M::Race, 2.5), (M::Panic, 0.8), (M::BadData, 0.6)],
    },
    Gone {
        words: ".close(|close()|defer |finally|with open|using (|.release(|unsubscribe|removelistener|removeeventlistener|.stop()|cancel()|rollback()|.end()",
        why: "something is no longer closed",
        brings: &[(M::PoolExhausted, 2.2), (M::MemoryGrowth, 1.5), (M::Timeout, 0.8)],
    },
    Gone {
        words: "cache|memoiz|lru",
        why: "a cache is taken out",
        brings: &[(M::CacheLoss, 2.2), (M::FanOut, 1.6), (M::Slow, 1.5), (M::CpuBurn, 1.0), (M::Timeout, 0.8)],
    },
    Gone {
        words: "withtimeout|timeout|deadline|setdeadline",
        why: "a time limit is taken out",
        brings: &[(M::PoolExhausted, 1.6), (M::Backlog, 1.2), (M::Slow, 1.0), (M::Timeout, 0.6)],
    },
    Gone {
        words: "backoff|jitter|exponential",
        why: "retries no longer wait",
        brings: &[(M::RetryStorm, 2.5), (M::RateLimited, 1.5), (M::FanOut, 0.8)],
    },
    Gone {
        words: "circuitbreaker|circuit_breaker|breaker|ratelimit|limiter|semaphore|bulkhead|throttle",
        why: "a limiter is taken out",
        brings: &[(M::RetryStorm, 1.8), (M::PoolExhausted, 1.6), (M::RateLimited, 1.2), (M::CpuBurn, 0.8)],
    },
    Gone {
        words: "create index|add index|index=true|add_index|@index|createindex",
        why: "an index is taken out",
        brings: &[(M::Slow, 2.4), (M::CpuBurn, 2.0), (M::Timeout, 1.6)],
    },
    Gone {
        words: "preload|includes(|select_related|prefetch_related|joinedload|left join|inner join|findall|getall|batchget|mget|getmany|getbatch| in (",
        why: "many are no longer fetched at once",
        brings: &[(M::FanOut, 2.2), (M::Slow, 1.6)],
    },
    Gone {
        words: "authorization|permission|role|scope|bearer|setheader(\"auth|credentials|api_key|apikey",
        why: "a right or credential is taken out",
        brings: &[(M::Denied, 2.2), (M::Errors, 0.8)],
    },
    Gone {
        words: "evict|expire|maxsize|max_size|maxentries|setmaxlen|cleanup(|purge(",
        why: "what bounded a store is taken out",
        brings: &[(M::MemoryGrowth, 2.2), (M::DiskFull, 1.2)],
    },
    Gone {
        words: "where |limit |.limit(|paginate|page_size|pagesize",
        why: "a query is no longer bounded",
        brings: &[(M::Slow, 2.0), (M::MemoryGrowth, 1.4), (M::CpuBurn, 1.2), (M::Timeout, 1.2)],
    },
    Gone {
        words: "retry|retries",
        why: "retries are taken out",
        brings: &[(M::Errors, 1.4), (M::Refused, 1.2), (M::Timeout, 0.8)],
    },
    Gone {
        words: "recover()|catch|except |rescue",
        why: "an error is no longer caught",
        brings: &[(M::Panic, 1.8), (M::NilAccess, 0.8), (M::BadData, 1.0), (M::Errors, 0.8)],
    },
];

fn gone(lines: &[Line]) -> Vec<Effect> {
    let mut found = Vec::new();
    for rule in &GONE {
        let removed: Vec<&Line> = side(lines, Side::Removed).filter(|line| says(line, rule.words)).collect();
        let added = side(lines, Side::Added).filter(|line| says(line, rule.words)).count();
        if let Some(line) = removed.first().filter(|_| removed.len() > added) {
            found.extend(rule.brings.iter().map(|(mechanism, weight)| effect(*mechanism, *weight, line, rule.why)));
        }
    }
    found
}

const COME: [Gone; 14] = [
    Gone {
        words: "sleep(|time.after(|thread.sleep|settimeout(resolve|busy",
        why: "a wait is put in",
        brings: &[(M::Slow, 2.4), (M::Timeout, 1.4), (M::PoolExhausted, 0.8)],
    },
    Gone {
        words: "drop index|remove_index|dropindex",
        why: "an index is dropped",
        brings: &[(M::Slow, 2.4), (M::CpuBurn, 2.0), (M::Timeout, 1.6)],
    },
    Gone {
        words: "like '%|select *|order by rand|full scan|ilike",
        why: "a query reads more",
        brings: &[(M::Slow, 1.6), (M::CpuBurn, 1.2), (M::FanOut, 0.6), (M::Timeout, 0.8)],
    },
    Gone {
        words: "regexp.mustcompile|regexp.compile|re.compile|new regexp|pattern.compile|regex::new|.+)+|.*)*|+)+",
        why: "a pattern is compiled or matched where requests pass",
        brings: &[(M::CpuBurn, 2.2), (M::Slow, 1.4), (M::Timeout, 0.8)],
    },
    Gone {
        words: "lock()|synchronized|mutex|for update|lock table|select for",
        why: "a lock is put in",
        brings: &[(M::Deadlock, 2.2), (M::Slow, 1.4), (M::Timeout, 1.0), (M::PoolExhausted, 0.8)],
    },
    Gone {
        words: ".unwrap()|!!.|.get(0)|.first()!|.(string)|.(*",
        why: "a value is taken for granted",
        brings: &[(M::NilAccess, 1.4), (M::TypeMismatch, 1.0), (M::Panic, 1.0)],
    },
    Gone {
        words: "go func|new thread(|tokio::spawn|executors.|threading.thread|setinterval(",
        why: "work is started that nobody waits for",
        brings: &[(M::MemoryGrowth, 1.2), (M::CpuBurn, 0.9), (M::PoolExhausted, 0.8), (M::Race, 0.8)],
    },
    Gone {
        words: "retry|retries|attempt",
        why: "retries are put in",
        brings: &[(M::RetryStorm, 1.9), (M::FanOut, 1.0), (M::RateLimited, 1.0)],
    },
    Gone {
        words: "insecureskipverify|minversion|rootcas|cafile|truststore|clientcert|verify=|tlsconfig =|mtls|requireandverify",
        why: "trust is configured differently",
        brings: &[(M::Tls, 2.2), (M::Refused, 0.8)],
    },
    Gone {
        words: "drop column|rename column|alter table|drop table|rename to|not null",
        why: "the shape of stored data changes",
        brings: &[(M::Schema, 2.4), (M::Errors, 1.0), (M::Deadlock, 0.8), (M::Slow, 0.8)],
    },
    Gone {
        words: "os.getenv|process.env|os.environ|getenv(|std::env::var|mustenv|viper.get|config.require",
        why: "a setting is read that may not be there",
        brings: &[(M::BadConfig, 2.2), (M::NilAccess, 0.9), (M::Panic, 0.9), (M::Errors, 0.6)],
    },
    Gone {
        words: "os.readfile|ioutil.readall|readall(|readlines()|tolist()|collect(collectors|fetchall()",
        why: "everything is read into memory",
        brings: &[(M::MemoryGrowth, 1.8), (M::Slow, 0.8)],
    },
    Gone {
        words: "deny|forbid|403|401|requirerole|authorize(|hasrole|isadmin",
        why: "a right is asked for that was not",
        brings: &[(M::Denied, 2.0), (M::Errors, 0.6)],
    },
    Gone {
        words: "panic(|os.exit|process.exit|throw new|raise ",
        why: "the program may now give up",
        brings: &[(M::Panic, 1.6), (M::Errors, 0.8), (M::BadData, 0.6)],
    },
];

fn come(lines: &[Line]) -> Vec<Effect> {
    let mut found = Vec::new();
    for rule in &COME {
        let added: Vec<&Line> = side(lines, Side::Added).filter(|line| says(line, rule.words)).collect();
        let removed = side(lines, Side::Removed).filter(|line| says(line, rule.words)).count();
        if let Some(line) = added.first().filter(|_| added.len() > removed) {
            found.extend(rule.brings.iter().map(|(mechanism, weight)| effect(*mechanism, *weight, line, rule.why)));
        }
    }
    found
}

fn indent(line: &Line) -> usize {
    line.text.len() - line.text.trim_start().len()
}

/// Calls that leave the process, put inside a loop.
fn in_loops(lines: &[Line]) -> Vec<Effect> {
    let is_loop = |lower: &str| {
        ["for ", "for(", "while ", "while("].iter().any(|start| lower.starts_with(start))
            || [".foreach(", ".map(", ".each ", "each do"].iter().any(|part| lower.contains(part))
    };
    let mut looped: Option<(usize, u32)> = None;
    let mut found = Vec::new();
    let removed_calls: Vec<&str> =
        side(lines, Side::Removed).filter(|line| holds(line, &CALLS_OUT)).map(|line| line.lower.as_str()).collect();
    for line in lines.iter().filter(|line| line.side != Side::Removed) {
        if is_loop(&line.lower) {
            looped = Some((indent(line), line.hunk));
            continue;
        }
        let inside = looped.is_some_and(|(depth, hunk)| hunk == line.hunk && indent(line) > depth);
        if !inside {
            if looped.is_some_and(|(_, hunk)| hunk != line.hunk || !line.lower.starts_with('}')) {
                looped = None;
            }
            continue;
        }
        let leaves = line.lower.contains('(') && holds(line, &CALLS_OUT);
        if line.side == Side::Added && !line.moved && leaves && removed_calls.is_empty() {
            let timer = lines
                .iter()
                .any(|other| other.side == Side::Added && holds(other, &["ticker", "cron", "schedule", "interval"]));
            let part = if timer { 0.4 } else { 1.0 };
            for (mechanism, weight) in [
                (M::FanOut, 2.5),
                (M::Slow, 1.8),
                (M::Timeout, 1.2),
                (M::PoolExhausted, 1.2),
                (M::CpuBurn, 0.8),
                (M::RateLimited, 1.0),
            ] {
                found.push(effect(mechanism, weight * part, line, "a call is made for each element of a loop"));
            }
        }
    }
    found
}

/// Containers that outlive a request, get more with each one, and nothing is ever taken out.
fn grows(lines: &[Line]) -> Vec<Effect> {
    let added: Vec<&Line> = side(lines, Side::Added).collect();
    if added.iter().any(|line| holds(line, &BOUNDS)) {
        return Vec::new();
    }
    let held = |line: &&&Line| {
        let top = indent(line) == 0;
        (top && (line.lower.starts_with("var ") || line.lower.starts_with("let ") || line.lower.starts_with("const "))
            && (line.lower.contains("[]") || line.lower.contains("map") || line.lower.contains("{}")))
            || (line.lower.contains("static") && holds(line, &["list", "map", "set", "vec", "[]", "dict"]))
            || (top
                && (line.lower.ends_with("= []")
                    || line.lower.ends_with("= {}")
                    || line.lower.contains("defaultdict")
                    || line.lower.contains("= dict()")))
    };
    let owned = |line: &Line| holds(line, &["self.", "this.", "s.", "c.", "h.", "global"]);
    let puts = |line: &&&Line| {
        holds(line, &["append(", ".push(", ".add(", ".put(", ".insert(", "] = ", "+= "])
            && !line.lower.starts_with("for ")
    };
    let Some(put) = added.iter().find(puts) else { return Vec::new() };
    let weight = if added.iter().any(|line| held(&line)) {
        2.5
    } else if owned(put) {
        1.2
    } else {
        return Vec::new();
    };
    let why = "something that outlives a request grows with each one";
    vec![
        effect(M::MemoryGrowth, weight, put, why),
        effect(M::CpuBurn, 0.4 * weight, put, why),
        effect(M::Slow, 0.3 * weight, put, why),
    ]
}

/// A test for a value that is not there; not the usual one for an error.
fn is_for_missing(lower: &str) -> bool {
    let tests = "== nil|!= nil|is none|is not none|== null|!= null|=== null|!== null|=== undefined|!== undefined|== undefined|ispresent|?.|orelse|if let some|.is_some()|.is_none()|, ok :=|hasownproperty|isnull|nonnull| in self.|?? ";
    let errors = "err == nil|err != nil|error != nil|e != null|err != null";
    tests.split('|').any(|test| lower.contains(test)) && !errors.split('|').any(|error| lower.contains(error))
}

fn is_for_bounds(lower: &str) -> bool {
    let sizes = "len(|.length|.size()|.len()|.isempty()";
    let signs = " < | > |<=|>=|== 0|!= 0|isempty";
    sizes.split('|').any(|size| lower.contains(size)) && signs.split('|').any(|sign| lower.contains(sign))
}

fn is_for_zero(lower: &str) -> bool {
    lower.starts_with("if") && ["== 0", "!= 0", "> 0"].iter().any(|sign| lower.contains(sign))
}

fn is_check(lower: &str) -> bool {
    let starts = "if |if(|} else if|assert|require";
    starts.split('|').any(|start| lower.starts_with(start)) || lower.contains("validate(")
}

/// Checks that went: for a missing value, for bounds, for anything.
fn guards(lines: &[Line]) -> Vec<Effect> {
    type Rule<'a> = (&'a dyn Fn(&str) -> bool, &'static str, &'a [(M, f64)]);
    let rules: [Rule<'_>; 4] = [
        (
            &is_for_missing,
            "a check for a missing value is taken out",
            &[(M::NilAccess, 2.5), (M::Panic, 1.2), (M::Errors, 0.8)],
        ),
        (
            &is_for_bounds,
            "a check of bounds is taken out",
            &[(M::IndexRange, 2.4), (M::Panic, 1.2), (M::MemoryGrowth, 0.6)],
        ),
        (&is_for_zero, "a check for zero is taken out", &[(M::Division, 2.2), (M::Panic, 0.8)]),
        (
            &is_check,
            "a check is taken out",
            &[(M::BadData, 1.0), (M::Errors, 0.9), (M::Panic, 0.8), (M::Denied, 0.5), (M::NilAccess, 0.5)],
        ),
    ];
    let mut found = Vec::new();
    for (test, why, brings) in rules {
        let removed: Vec<&Line> = side(lines, Side::Removed).filter(|line| test(&line.lower)).collect();
        let added = side(lines, Side::Added).filter(|line| test(&line.lower)).count();
        if let Some(line) = removed.first().filter(|_| removed.len() > added) {
            found.extend(brings.iter().map(|(mechanism, weight)| effect(*mechanism, *weight, line, why)));
        }
    }
    let ignores = side(lines, Side::Added).find(|line| {
        line.lower.contains("_ = ")
            || line.lower.contains(", _ := ")
            || line.lower.contains("catch (e) {}")
            || line.lower.contains("except: pass")
    });
    if let Some(line) = ignores {
        found.push(effect(M::NilAccess, 1.0, line, "an error is ignored"));
        found.push(effect(M::Errors, 0.6, line, "an error is ignored"));
    }
    found
}
