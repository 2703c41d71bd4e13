//! `${port}`, `${addr:NAME}`, `${volume:NAME}`, `${files}` in arguments and environment values.
//! Anything else in braces belongs to the program and stays. Never reads the environment of ours.

use std::path::Path;

use opsward_domain::name::{Volume, Workload};

/// What the placeholders stand for.
pub(crate) struct Scope<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) files: Option<&'a Path>,
    pub(crate) address: &'a dyn Fn(&Workload) -> Option<String>,
    pub(crate) volume: &'a dyn Fn(&Volume) -> Option<String>,
}

/// `text` with every placeholder of ours replaced, or why that cannot be.
pub(crate) fn expand(text: &str, scope: &Scope<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        let whole = &rest[start..=start + length];
        match value(&whole[2..whole.len() - 1], scope)? {
            Some(value) => out.push_str(&value),
            None => out.push_str(whole),
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(name: &str, scope: &Scope<'_>) -> Result<Option<String>, String> {
    if name == "port" {
        let port = scope.port.ok_or("${port} needs \"port\": true")?;
        return Ok(Some(port.to_string()));
    }
    if name == "files" {
        let files = scope.files.ok_or("${files} needs files in this version")?;
        return Ok(Some(files.display().to_string()));
    }
    if let Some(workload) = name.strip_prefix("addr:") {
        let workload = Workload::parse(workload).map_err(|error| error.to_string())?;
        let address = (scope.address)(&workload);
        return address.map(Some).ok_or(format!("there is no workload {workload} with an address"));
    }
    if let Some(volume) = name.strip_prefix("volume:") {
        let volume = Volume::parse(volume).map_err(|error| error.to_string())?;
        let folder = (scope.volume)(&volume);
        return folder.map(Some).ok_or(format!("the workload does not mount volume {volume}"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_ours_and_nothing_else() {
        let address = |name: &Workload| (name.as_str() == "db").then(|| "127.0.0.1:5".to_owned());
        let volume = |name: &Volume| (name.as_str() == "data").then(|| "/v/data".to_owned());
        let full = Scope { port: Some(80), files: Some(Path::new("/f")), address: &address, volume: &volume };
        let text = "a ${port} ${addr:db} ${volume:data} ${files}/x ${HOME} $port ${open";
        let wanted = "a 80 127.0.0.1:5 /v/data /f/x ${HOME} $port ${open";
        assert_eq!(expand(text, &full).unwrap(), wanted);
        let empty = Scope { port: None, files: None, ..full };
        for (bad, why) in [
            ("${port}", "\"port\": true"),
            ("${files}", "files"),
            ("${addr:nobody}", "nobody"),
            ("${addr:../x}", "not a valid name"),
            ("${volume:other}", "other"),
        ] {
            let error = expand(bad, &empty).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
