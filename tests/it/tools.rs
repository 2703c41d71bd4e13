//! Every tool's examples, run in the real sandbox: what must come of them, and what must be refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use opsward_engine::toolbox::{Tool, check};
use opsward_ports::runner::{Observer, Program, Reply, Runner};
use opsward_worker::{Options, Pool};
use serde_json::{Value, json};

struct Canned(BTreeMap<String, Value>);

#[async_trait]
impl Observer for Canned {
    async fn observe(&self, query: &str, _args: Value) -> Reply {
        match self.0.get(query) {
            Some(value) => Reply::Value(value.clone()),
            None => Reply::Refused { code: "not_found".into(), message: format!("no {query} in this example") },
        }
    }
}

async fn run(pool: &Pool, tool: &Tool, input: Value, seen: BTreeMap<String, Value>) -> Value {
    let program = Program {
        source: tool.handler.clone(),
        input,
        queries: tool.queries.clone(),
        steps: tool.actions.iter().map(|action| action.facts().name.to_owned()).collect(),
        limits: tool.limits,
    };
    pool.run(program, Arc::new(Canned(seen))).await.unwrap_or_else(|error| panic!("{}: {error}", tool.name))
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_hold() {
    let toolbox = opsward::embedded::toolbox().unwrap();
    let pool = Pool::start(Options::new(crate::support::binary())).await.unwrap();
    let mut ran = 0;
    for tool in toolbox.iter() {
        for example in &tool.examples.accept {
            let place = format!("{}: {}", tool.name, example.about);
            let input = check(tool, &example.input).unwrap_or_else(|fault| panic!("{place}: {fault}"));
            let value = run(&pool, tool, input, example.observations.clone()).await;
            let steps: Vec<Value> = value["steps"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|step| {
                    let mut step = step.as_object().unwrap().clone();
                    let kind = step.remove("$step").unwrap();
                    step.insert("kind".into(), kind);
                    Value::Object(step)
                })
                .collect();
            assert_eq!(steps, example.steps.clone().unwrap_or_default(), "{place}");
            for step in &steps {
                serde_json::from_value::<opsward_domain::action::Action>(step.clone())
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            if let Some(text) = &example.answer_contains {
                let answer = value["answer"].as_str().map_or_else(|| value["answer"].to_string(), str::to_owned);
                assert!(answer.contains(text), "{place}: {answer}");
            }
            ran += 1;
        }
        for refusal in &tool.examples.refuse {
            let place = format!("{}: {}", tool.name, refusal.about);
            let fault = check(tool, &refusal.input).expect_err(&place);
            assert!(fault.to_string().contains(&refusal.because), "{place}: {fault}");
            ran += 1;
        }
    }
    assert!(ran >= 30, "{ran} examples");
}

#[test]
fn the_manual_is_current() {
    let toolbox = opsward::embedded::toolbox().unwrap();
    let mut text = String::from("# Tools\n\nGenerated from the declarations; a test keeps it current.\n\n");
    toolbox.iter().for_each(|tool| text.push_str(&opsward_engine::toolbox::manual(tool)));
    crate::support::golden(&crate::tidy::root().join("tools/README.md"), text.trim_end());
}

#[test]
fn mistakes_in_a_tool_folder_are_told() {
    let folder = |declaration: &str| opsward_engine::toolbox::ToolFolder {
        name: "probe".into(),
        declaration: declaration.into(),
        handler: "return 1;".into(),
        examples: "[[accept]]\nabout = \"a\"\ninput = {}\n[[refuse]]\nabout = \"b\"\ninput = 1\nbecause = \"object\"\n"
            .into(),
    };
    let base = "summary = \"s\"\nwhen = \"w\"\nwhen_not = \"n\"\n";
    let cases = json!({
        format!("name = \"other\"\n{base}"): "folder's name",
        format!("name = \"probe\"\n{base}actions = [\"format_disk\"]"): "no action",
        format!("name = \"probe\"\n{base}queries = [\"secrets\"]"): "no observation",
        format!("name = \"probe\"\n{base}colour = 1"): "cannot be read",
    });
    for (declaration, because) in cases.as_object().unwrap() {
        let fault = opsward_engine::toolbox::Toolbox::load(&[folder(declaration)]).unwrap_err();
        let text = format!("{fault} {}", fault.message);
        assert!(text.contains("probe") && text.contains(because.as_str().unwrap()), "{text}");
    }
}
