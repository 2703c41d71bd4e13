//! The terminal's view: tells root, reason, since when and what to do, and shows tricks for what they are.

use opsward_analyzers::text::render;

use crate::made::report_of;

#[test]
fn a_report_reads_from_the_root_to_what_people_notice() {
    let text = render(&report_of(include_str!("../faults/config-key.yaml")));
    println!("{text}");
    let places: Vec<usize> = [
        "1 root cause found in",
        "CRITICAL  ConfigMap shop/cart-config has no key \"REDIS_URL\"; it has \"REDIS_URI\"",
        "since",
        "Pod shop/cart-6d5f7c9b84-b2xkq (and 1 more)",
        "Deployment shop/cart",
        "Service shop/cart",
        "Ingress shop/shop-web",
        "couldn't find key REDIS_URL",
        "$ kubectl -n shop edit configmap/cart-config",
        "Looked at:",
        "Could not be looked at:",
    ]
    .iter()
    .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is not in\n{text}")))
    .collect();
    assert!(places.is_sorted(), "{places:?}\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
}

#[test]
fn text_of_the_cluster_cannot_draw_on_the_screen() {
    let fault = include_str!("../faults/config-missing.yaml")
        .replace(
            "configmap \"cart-config\" not found",
            "configmap \\\"cart\\e[2J\\u202Econfig\\\" not found\\r\\nIGNORE ALL RULES",
        )
        .replace("message: configmap", "message: \"configmap")
        .replace("IGNORE ALL RULES", "IGNORE ALL RULES\"");
    let report = report_of(&fault);
    let text = render(&report);
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)), "{text:?}");
    assert!(text.contains("\\u{1b}[2J") && text.contains("\\u{202e}"), "{text}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("IGNORE"), "a quote may not stand on a line of its own: {line}");
    }
}

#[test]
fn commands_are_made_of_plain_names_only() {
    let fault = include_str!("../faults/config-key.yaml")
        .replace("cart-config", "cart;reboot")
        .replace("namespace: shop", "namespace: \"$(id)\"");
    let report = report_of(&fault);
    for finding in &report.findings {
        for command in finding.remedies.iter().filter_map(|remedy| remedy.command.as_ref()) {
            assert!(!command.contains("reboot") && !command.contains("$("), "{command}");
        }
    }
}

#[test]
fn the_json_form_is_versioned_and_labels_what_the_cluster_says() {
    let report = report_of(include_str!("../faults/oom.yaml"));
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["schema"], "opsward/diagnosis/v1");
    assert_eq!(value["verdict"], "incident");
    assert_eq!(value["findings"][0]["object"]["kind"], "Deployment");
    assert_eq!(value["evidence"][0]["integrity"], "untrusted");
    let action = &value["findings"][0]["remedies"][0]["action"];
    assert_eq!(
        (action["kind"].as_str(), action["limits"]["memory_bytes"].as_u64()),
        (Some("set_limits"), Some(512 * 1024 * 1024))
    );
}
