//! Names that are none, and names of things that are not there.

use serde_json::json;

use super::refused;
use crate::service::{Service, text};

/// Paths, control characters, other scripts, nothing, far too much.
fn bad_names() -> Vec<String> {
    let long = "x".repeat(10_000);
    let names = [
        "..",
        "../shop",
        "a/b",
        "sh\u{1b}[31mop",
        "sh\nop",
        "sh\u{202e}op",
        "\u{455}hop",
        "Shop",
        "a b",
        "a-",
        "",
        &long,
    ];
    names.map(str::to_owned).to_vec()
}

#[test]
fn what_is_no_name_is_refused_wherever_it_is_said() {
    let service = Service::start();
    let token = service.sign_in();
    let made =
        service.command(&token, &["create-workspace", "-w", "shop", "--memory-bytes-max", "1000000000", "--yes"]);
    assert!(made.status.success(), "{}", text(&made));
    for name in bad_names() {
        let name = name.as_str();
        for args in [
            vec!["create-workspace", "-w", name, "--memory-bytes-max", "1000000000", "--yes"],
            vec!["status", "-w", name],
            vec!["create-volume", "-w", "shop", "--volume", name, "--size-bytes", "1000000", "--yes"],
            vec!["scale-workload", "-w", "shop", "--workload", name, "--replicas", "1", "--yes"],
            vec![
                "restore-backup",
                "-w",
                "shop",
                "--backup",
                "b",
                "--volume",
                "v",
                "--into",
                "i",
                "--from",
                name,
                "--yes",
            ],
            vec!["person", "add", name],
            vec!["recovery-kit", "-w", name],
        ] {
            refused(&service.command(&token, &args), 2, "valid name");
        }
    }
    let listed = text(&service.command(&token, &["workspace", "list"]));
    assert_eq!(listed.matches("\"name\"").count(), 1, "something was made: {listed}");
    let long = "word ".repeat(2_001);
    refused(&service.command(&token, &["ask", "-w", "shop", &long]), 2, "10000 characters");
    let body = json!({"action": {"kind": "create_volume", "volume": "x".repeat(10_000), "size_bytes": 1_000_000}});
    let answer = service.call(&token, "POST", "/workspaces/shop/actions", Some(&body));
    assert_eq!(answer["error"]["code"], "invalid_input", "{answer}");
    assert!(answer.to_string().len() < 1_000, "the name is not sent back whole");
}

#[test]
fn what_is_not_there_is_told() {
    let service = Service::start();
    let token = service.sign_in();
    for args in [
        vec!["create-workspace", "--memory-bytes-max", "1000000000"],
        vec![
            "deploy-function",
            "--function",
            "twice",
            "--source",
            r#"{"runtime":"javascript","text":"export default (x) => x * 2"}"#,
            "--timeout-ms",
            "500",
            "--memory-bytes-max",
            "33554432",
        ],
    ] {
        let done = service.command(&token, &[args, vec!["-w", "shop", "--yes"]].concat());
        assert!(done.status.success(), "{}", text(&done));
    }
    for (args, code, says) in [
        (vec!["status", "-w", "none"], 1, "no workspace none"),
        (vec!["recovery-kit", "-w", "none"], 1, "no workspace none"),
        (vec!["action", "run", "{\"kind\":\"format_disk\"}", "-w", "shop"], 1, "no action \"format_disk\""),
        (vec!["action", "run", "not json", "-w", "shop"], 2, "not JSON"),
        (vec!["tool", "show", "nope"], 1, "no tool"),
        (vec!["tool", "run", "nope", "-w", "shop"], 1, "no tool"),
        (vec!["invoke-function", "-w", "shop", "--function", "nope", "--input", "1", "--yes"], 1, "does not exist"),
        (vec!["activate-function", "-w", "shop", "--function", "twice", "--version", "99", "--yes"], 1, "99"),
        (vec!["verify-backup", "-w", "shop", "--backup", "nope", "--yes"], 1, "does not exist"),
        (vec!["incident", "report", "i-0"], 1, "no incident"),
        (vec!["approve", "ok-0"], 1, "no such approval"),
    ] {
        let output = service.command(&token, &args);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
