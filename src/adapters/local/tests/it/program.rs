//! The workload program of the tests: a small HTTP server that does what it is told. Knows nothing of
//! the provider.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Mutex;

pub(crate) const ROLE: &str = "__program";

/// Memory taken on request.
static HELD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub(crate) fn main(args: &[String]) -> ExitCode {
    println!("INFO starting version {}", std::env::var("VERSION").unwrap_or_default());
    let wait_ms = std::env::var("START_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    std::thread::sleep(std::time::Duration::from_millis(wait_ms));
    let listener = TcpListener::bind(format!("127.0.0.1:{}", args[0])).unwrap();
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
    ExitCode::SUCCESS
}

fn answer(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1)?.to_owned();
    let (path, argument) = path.split_once('?').unwrap_or((&path, ""));
    let (status, body) = route(path, argument, &mut reader);
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).ok()
}

fn route(path: &str, argument: &str, reader: &mut BufReader<TcpStream>) -> (u16, String) {
    let shown = |result: std::io::Result<()>| match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("error {}", error.raw_os_error().unwrap_or(0)),
    };
    let body = match path {
        "/healthz" => {
            let status = std::env::var("HEALTH").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
            return (status, String::new());
        }
        "/id" => format!("{} {}", std::process::id(), std::env::var("VERSION").unwrap_or_default()),
        "/env" => std::env::vars().map(|(key, value)| format!("{key}={value}\n")).collect(),
        "/metrics" => "requests_total{code=\"200\"} 7\nreplica_ready 0\n".to_owned(),
        "/read" => shown(std::fs::read(argument).map(drop)),
        "/cat" => std::fs::read_to_string(argument).unwrap_or_default(),
        "/write" => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(argument);
            shown(file.and_then(|mut file| file.write_all(&[b'x'; 64 * 1024])))
        }
        "/remove" => shown(std::fs::remove_file(argument)),
        "/log" => {
            println!("{}", argument.replace("%20", " "));
            "ok".to_owned()
        }
        "/kill" => {
            let pid = rustix::process::Pid::from_raw(argument.parse().unwrap()).unwrap();
            shown(rustix::process::test_kill_process(pid).map_err(Into::into))
        }
        "/hog" => {
            HELD.lock().unwrap().push(vec![1; argument.parse::<usize>().unwrap() << 20]);
            "ok".to_owned()
        }
        "/exit" => std::process::exit(argument.parse().unwrap()),
        "/drain" => {
            let mut rest = Vec::new();
            shown(reader.read_to_end(&mut rest).map(drop)) + &format!(" {}", rest.len())
        }
        _ => return (404, String::new()),
    };
    (200, body)
}
