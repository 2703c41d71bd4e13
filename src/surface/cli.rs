//! The terminal: a client of the REST surface. Prints what code rendered, asks y/N at a terminal, exits
//! 0 done, 1 failed, 2 wrong input, 3 a yes is missing, 4 refused.

mod client;
mod follow;
mod print;
mod verbs;

use clap::{Arg, ArgAction, ArgMatches, Command};
use opsward_domain::action::{ActionKind, Field, FieldKind};
use opsward_domain::fault::Fault;

pub use client::Client;
pub use follow::{Following, follow};

/// Where the server is unless said otherwise.
pub const SERVER_DEFAULT: &str = "http://127.0.0.1:7700";

/// Every verb of the terminal that talks to a server.
pub fn commands() -> Vec<Command> {
    let mut all = vec![
        Command::new("login")
            .about("Trade a one-time link for a session on this machine")
            .arg(word("link", "the link that `opsward up` printed")),
        Command::new("ask")
            .about("Ask one question and print the answer")
            .arg(words("text", "the question"))
            .arg(workspace()),
        Command::new("chat").about("Talk; Ctrl-C cancels the turn, Ctrl-D leaves").arg(workspace()),
        Command::new("approvals").about("List approvals that wait for a person"),
        Command::new("approve").about("Say yes to a plan").arg(word("id", "the approval's id")),
        Command::new("refuse").about("Say no to a plan").arg(word("id", "the approval's id")).arg(text("note", "why")),
        Command::new("status").about("Show workloads and open incidents of a workspace").arg(workspace()),
        look(),
        tool(),
        Command::new("action")
            .about("The actions of the platform")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(Command::new("list").about("List every action with effect, risk and undo"))
            .subcommand(
                Command::new("run")
                    .about("Ask for one action given as JSON")
                    .arg(word("action", "{\"kind\": ..., ...}"))
                    .arg(workspace())
                    .arg(yes())
                    .arg(reason()),
            ),
        Command::new("log")
            .about("Logs")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(log_filter(Command::new("search").about("Search lines").arg(words_of_lines())))
            .subcommand(log_templates())
            .subcommand(
                Command::new("ingest")
                    .about("Keep lines from files or standard input")
                    .arg(Arg::new("file").num_args(0..).help("files; none or - reads standard input"))
                    .arg(text("workload", "whose lines they are, unless each says so as JSON"))
                    .arg(workspace()),
            ),
        incident(),
        score(),
        Command::new("workspace")
            .about("Workspaces")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(Command::new("list").about("List your workspaces")),
        Command::new("recovery-kit")
            .about("Print a page, once, whose key opens the backups of a workspace without this machine (owners)")
            .arg(workspace()),
        person(),
        schedule(),
        Command::new("switch")
            .about("Stop or allow effects (observe-only, kill switch)")
            .arg(Arg::new("to").required(true).value_parser(["on", "off"]).help("on stops every effect"))
            .arg(workspace())
            .arg(reason()),
    ];
    all.extend(ActionKind::ALL.iter().map(|kind| action(*kind)));
    all
}

/// What a cluster has beyond workloads.
fn look() -> Command {
    Command::new("look")
        .about("Look at what a workspace's cluster has to show, read in place")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("events")
                .about("What the cluster noted by itself, newest last")
                .arg(text("workload", "only this workload"))
                .arg(workspace()),
        )
        .subcommand(
            Command::new("objects")
                .about("Its objects of a kind as JSON, such as pods; a wrong kind lists those there are")
                .arg(word("kind", "pods, nodes, services, ingresses, ..."))
                .arg(workspace()),
        )
        .subcommand(
            Command::new("output")
                .about("The newest output of a workload")
                .arg(word("workload", "the workload"))
                .arg(Arg::new("previous").long("previous").action(ArgAction::SetTrue).help("of its earlier lives"))
                .arg(
                    Arg::new("lines")
                        .long("lines")
                        .value_parser(clap::value_parser!(i64).range(1..=200))
                        .help("most lines of each replica (50)"),
                )
                .arg(workspace()),
        )
}

fn tool() -> Command {
    Command::new("tool")
        .about("Tools: what a model or a person may call")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List tools"))
        .subcommand(
            Command::new("show").about("Show a tool with its schema and handler").arg(word("name", "the tool's name")),
        )
        .subcommand(
            Command::new("run")
                .about("Run a tool; what it proposes is shown, not done")
                .arg(word("name", "the tool's name"))
                .arg(Arg::new("input").default_value("{}").help("its input as JSON"))
                .arg(workspace()),
        )
}

/// How withheld plans compare with what people did.
fn score() -> Command {
    Command::new("score")
        .about("Compare plans that observe-only withheld with what people did")
        .after_help(
            "agreed: same action, target and arguments within an hour; differed: something else to the same target; \
             elsewhere: other targets only; unneeded: nobody acted and it went away; missed: nobody acted and it stayed; \
             unknown: nobody acted and nothing was measured; open: the hour is not over.",
        )
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("DAYS")
                .value_parser(clap::value_parser!(i64).range(1..=3650))
                .help("only plans of the last so many days"),
        )
        .arg(workspace().help("only this workspace"))
}

fn incident() -> Command {
    Command::new("incident")
        .about("Incidents")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List incidents, newest first"))
        .subcommand(Command::new("show").about("Show an incident with its plans").arg(word("id", "the incident's id")))
        .subcommand(
            Command::new("report")
                .about("Print an incident's report with timeline and evidence")
                .arg(word("id", "the incident's id")),
        )
}

fn person() -> Command {
    Command::new("person")
        .about("People, roles and tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List people"))
        .subcommand(Command::new("add").about("Add a person").arg(word("name", "a-z, 0-9 and '-'")))
        .subcommand(
            Command::new("role")
                .about("Give or take a role")
                .arg(word("name", "the person"))
                .arg(word("role", "viewer, developer, operator, admin, owner or none"))
                .arg(workspace().help("only in this workspace")),
        )
        .subcommand(
            Command::new("token")
                .about("Make a token; it is shown once")
                .arg(word("name", "the person"))
                .arg(Arg::new("days").long("days").value_parser(clap::value_parser!(i64)).help("days until it expires"))
                .arg(
                    Arg::new("assistant")
                        .long("assistant")
                        .action(ArgAction::SetTrue)
                        .help("for software that looks and proposes for the person; it can never say yes"),
                ),
        )
}

fn schedule() -> Command {
    let name = || word("name", "a-z, 0-9 and '-'");
    let number = |long: &'static str, about: &'static str| {
        text(long, about).value_parser(clap::value_parser!(u32)).value_name("MINUTES")
    };
    Command::new("schedule")
        .about("What is done again and again, with the rights of whoever made it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("add")
                .about("Make a schedule: an action, a tool run or a question, by cron or by period")
                .arg(name())
                .arg(text("cron", "minute hour day month weekday, for example '30 3 * * 1-5'").conflicts_with("every"))
                .arg(text("zone", "time zone of --cron, for example Europe/Berlin (UTC)").requires("cron"))
                .arg(number("every", "run every so many minutes").required_unless_present("cron"))
                .arg(text("action", "an action as JSON, or @FILE: {\"kind\": ...}").value_name("JSON"))
                .arg(text("tool", "a tool to run").conflicts_with("action"))
                .arg(text("input", "the tool's input as JSON, or @FILE").value_name("JSON").requires("tool"))
                .arg(text("ask", "a question").conflicts_with_all(["action", "tool"]))
                .group(clap::ArgGroup::new("what").args(["action", "tool", "ask"]).required(true))
                .arg(number("late", "run once for what was missed if at most this late (60)"))
                .arg(workspace())
                .after_help(
                    "Examples:\n  opsward schedule add look --every 30 --ask 'is anything wrong?'\n  \
                     opsward schedule add nightly --cron '30 3 * * *' --zone Europe/Berlin \\\n    \
                     --action '{\"kind\": \"restart_workload\", \"workload\": \"web\"}'",
                ),
        )
        .subcommand(
            Command::new("list").about("List schedules with when they are due and their last run").arg(workspace()),
        )
        .subcommand(Command::new("pause").about("Stop a schedule for a while").arg(name()).arg(workspace()))
        .subcommand(Command::new("resume").about("Let a paused schedule go on from now").arg(name()).arg(workspace()))
        .subcommand(Command::new("remove").about("Remove a schedule for good").arg(name()).arg(workspace()))
}

/// The verb of an action, derived from its facts: `scale_workload` becomes `scale-workload`.
fn action(kind: ActionKind) -> Command {
    let facts = kind.facts();
    let mut command = Command::new(kind_verb(kind))
        .about(facts.summary)
        .after_help(format!("effect {}, risk {}", facts.effect.word(), facts.risk.0))
        .arg(workspace())
        .arg(yes())
        .arg(reason());
    for field in facts.fields {
        command = command.arg(flag(field));
    }
    command
}

/// The command word of an action.
pub fn kind_verb(kind: ActionKind) -> String {
    kind.facts().name.replace('_', "-")
}

fn flag(field: &Field) -> Arg {
    let arg = Arg::new(field.name).long(field.name.replace('_', "-")).required(field.required).help(field.about);
    match field.kind {
        FieldKind::Name => arg.value_name("NAME"),
        FieldKind::Text => arg.value_name("TEXT"),
        FieldKind::Names | FieldKind::Words => arg.value_name("NAME").action(ArgAction::Append).value_delimiter(','),
        FieldKind::Map => arg.value_name("KEY=VALUE").action(ArgAction::Append),
        FieldKind::Integer => arg.value_name("NUMBER").value_parser(clap::value_parser!(u64)),
        FieldKind::Json => arg.value_name("JSON").long_help(format!("{}; @FILE reads a file", field.about)),
    }
}

fn word(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).required(true).help(about)
}

fn words(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).required(true).num_args(1..).help(about)
}

fn text(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).help(about)
}

fn workspace() -> Arg {
    Arg::new("workspace")
        .long("workspace")
        .short('w')
        .env("OPSWARD_WORKSPACE")
        .help("which workspace; not needed if you have one only")
}

fn yes() -> Arg {
    Arg::new("yes")
        .long("yes")
        .short('y')
        .action(ArgAction::SetTrue)
        .help("say yes without being asked, where your own yes counts")
}

fn reason() -> Arg {
    text("reason", "why, for the record")
}

fn words_of_lines() -> Arg {
    Arg::new("text").help("words that must all occur").num_args(0..)
}

/// Templates of files are mined here, without a server; without files the server counts its own.
fn log_templates() -> Command {
    let command = Command::new("templates")
        .about("Count lines by template: of the server's logs, or of files")
        .after_help(
            "With files: mines them and prints a table, or with --json an object for every line in order\n\
             ({line, template_id, template, params, layout}) and one with a summary at the end. `layout` is there\n\
             where a line differs from its template in blanks or punctuation: it, or else `template`, with the\n\
             params for its <*> is the message. Files are read twice, so ids are final; an id is the hash of the\n\
             template's first text and stays when the template becomes more general.",
        )
        .arg(Arg::new("file").num_args(0..).help("files to mine; - reads standard input"))
        .arg(
            Arg::new("format")
                .long("format")
                .value_parser(["auto", "content", "syslog", "plain", "cri", "json", "logfmt"])
                .help("how lines of files are laid out (auto); content: each line is the message"),
        )
        .arg(words_of_lines().long("text").num_args(1));
    log_filter(command)
}

fn log_filter(command: Command) -> Command {
    command
        .arg(text("workload", "only this workload"))
        .arg(text("level", "at least: trace, debug, info, warn, error, fatal"))
        .arg(Arg::new("minutes").long("minutes").value_parser(clap::value_parser!(i64)).help("how far back (15)"))
        .arg(Arg::new("limit").long("limit").value_parser(clap::value_parser!(i64)).help("most results (50)"))
        .arg(workspace())
}

/// Runs one verb against a server. The value is the exit code.
pub async fn run(name: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let client = Client::from_matches(matches)?;
    verbs::run(&client, name, matches).await
}
