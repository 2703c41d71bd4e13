//! What gives numbers their meaning: templates, and the workspaces and workloads lines come from. Kept
//! in a log of its own that is on the disk before any line mentions a new number.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Workload, Workspace};
use opsward_ports::logs::text::{folded, words};
use opsward_templates::shape::Shape;
use opsward_templates::{Change, Limits, Mined, Miner};
use serde::{Deserialize, Serialize};

use crate::memtable::variant;
use crate::wire::{Framed, damaged, failed, frame, replace, take_frame};

/// Most pairs of workspace and workload of one tenant.
pub(crate) const PLACES_MAX: usize = 10_000;
/// Size at which the log is rewritten when it is opened.
const REWRITE_BYTES: usize = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Mined(Change),
    Place(Workspace, Workload),
}

/// What queries need of a catalog; never changes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// By number.
    pub(crate) places: Vec<(Workspace, Workload)>,
    /// By [`variant`].
    pub(crate) shapes: HashMap<u64, Arc<Shape>>,
    /// Number of shapes by template, merged ones included.
    pub(crate) templates: HashMap<u64, u8>,
    /// What merged templates lead to.
    merged: HashMap<u64, u64>,
    words: OnceLock<Vec<ShapeWords>>,
}

/// A shape's number and the folded words of each of its literals.
pub(crate) type ShapeWords = (u64, Vec<Vec<String>>);

impl Snapshot {
    /// The words of every shape, made when they are first asked for.
    pub(crate) fn words(&self) -> &[ShapeWords] {
        let of = |shape: &Shape| shape.literals.iter().map(|l| words(l).map(folded).collect()).collect();
        self.words.get_or_init(|| self.shapes.iter().map(|(variant, shape)| (*variant, of(shape))).collect())
    }

    /// The template of a stored line as it is called now: the line's own, or the one that took its place.
    #[inline]
    pub(crate) fn template_of(&self, variant: u64) -> u64 {
        let template = variant >> 8;
        if self.merged.is_empty() { template } else { self.merged.get(&template).copied().unwrap_or(template) }
    }

    /// Every variant whose lines are of `template` now.
    pub(crate) fn variants_of(&self, template: u64) -> Vec<u64> {
        let own = self.templates.get_key_value(&template);
        let others = self.merged.iter().filter(|(_, into)| **into == template);
        let others = others.filter_map(|(from, _)| self.templates.get_key_value(from));
        own.into_iter().chain(others).flat_map(|(id, shapes)| (0..*shapes).map(|shape| variant(*id, shape))).collect()
    }

    /// A template's text now.
    pub(crate) fn text(&self, template: u64) -> String {
        let last = self.templates.get(&template).and_then(|shapes| self.shapes.get(&variant(template, shapes - 1)));
        last.map(|shape| shape.text()).unwrap_or_default()
    }
}

/// A tenant's templates and places.
pub(crate) struct Catalog {
    path: PathBuf,
    file: File,
    miner: Miner,
    places: Vec<(Workspace, Workload)>,
    numbers: HashMap<Workspace, HashMap<Workload, u32>>,
    new_places: usize,
    bytes: u64,
    /// A write failed: the log lacks changes, so the next one writes everything.
    behind: bool,
}

impl Catalog {
    /// Reads the catalog of the tenant whose folder is `dir`, or begins it.
    pub(crate) fn open(dir: &Path, limits: Limits) -> Result<Self, Fault> {
        let path = dir.join("catalog");
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        let file = open(&path).map_err(|error| failed("open", &path, &error))?;
        let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        let (miner, places, numbers) = (Miner::new(limits), Vec::new(), HashMap::new());
        let mut catalog =
            Self { path, file, miner, places, numbers, new_places: 0, bytes: bytes.len() as u64, behind: false };
        let whole = catalog.replay(&bytes)?;
        if whole < bytes.len() || bytes.len() > REWRITE_BYTES {
            catalog.rewrite()?;
        }
        Ok(catalog)
    }

    /// Applies what is in `bytes`; returns how many of them are whole.
    fn replay(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut from = bytes;
        loop {
            match take_frame(&mut from) {
                Framed::Whole(payload) => {
                    let records: Vec<Record> = serde_json::from_slice(payload)
                        .map_err(|error| damaged(&self.path, &format!("an entry cannot be read: {error}")))?;
                    for record in records {
                        match record {
                            Record::Mined(change) => self.miner.apply(change),
                            Record::Place(workspace, workload) => drop(self.new_place(&workspace, &workload)),
                        }
                    }
                }
                Framed::End | Framed::Torn => {
                    self.new_places = 0;
                    return Ok(bytes.len() - from.len());
                }
                Framed::Damaged => return Err(damaged(&self.path, "an entry's checksum is wrong")),
            }
        }
    }

    /// The number of a workspace and workload.
    pub(crate) fn place(&mut self, workspace: &Workspace, workload: &Workload) -> Result<u32, Fault> {
        match self.numbers.get(workspace).and_then(|workloads| workloads.get(workload)) {
            Some(number) => Ok(*number),
            None if self.places.len() < PLACES_MAX => Ok(self.new_place(workspace, workload)),
            None => Err(Fault::new(Code::TooMany, "this tenant's logs come from too many workloads")
                .detail(format!("at most {PLACES_MAX} over all time"))),
        }
    }

    fn new_place(&mut self, workspace: &Workspace, workload: &Workload) -> u32 {
        let number = self.places.len() as u32;
        self.numbers.entry(workspace.clone()).or_default().insert(workload.clone(), number);
        self.places.push((workspace.clone(), workload.clone()));
        self.new_places += 1;
        number
    }

    /// Finds or makes the template of a line, and where its parameters are.
    pub(crate) fn mine(&mut self, line: &str) -> (Mined, &[(u32, u32)]) {
        let mined = self.miner.mine(line);
        (mined, self.miner.spans())
    }

    /// True if templates should be forgotten where possible.
    pub(crate) fn is_crowded(&self) -> bool {
        self.miner.is_crowded()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts what is new on the disk; true if anything was.
    pub(crate) fn save(&mut self) -> Result<bool, Fault> {
        if self.behind {
            return self.rewrite().map(|()| true);
        }
        let fresh = self.places.split_at(self.places.len() - self.new_places).1;
        let places = fresh.iter().map(|(workspace, workload)| Record::Place(workspace.clone(), workload.clone()));
        let records: Vec<Record> = places.chain(self.miner.take_changes().into_iter().map(Record::Mined)).collect();
        if records.is_empty() {
            return Ok(false);
        }
        let bytes = encode(&records)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        self.behind = written.is_err();
        written.map_err(|error| failed("write", &self.path, &error))?;
        (self.new_places, self.bytes) = (0, self.bytes + bytes.len() as u64);
        Ok(true)
    }

    /// Forgets templates that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(u64) -> bool) -> Result<(), Fault> {
        self.miner.retain(keep);
        self.rewrite()
    }

    fn rewrite(&mut self) -> Result<(), Fault> {
        drop(self.miner.take_changes());
        self.new_places = 0;
        let places = self.places.iter().map(|(workspace, workload)| Record::Place(workspace.clone(), workload.clone()));
        let records: Vec<Record> = places.chain(self.miner.all().map(Record::Mined)).collect();
        let bytes = encode(&records)?;
        replace(&self.path, &bytes)?;
        let file = File::options().append(true).open(&self.path);
        self.file = file.map_err(|error| failed("open", &self.path, &error))?;
        (self.bytes, self.behind) = (bytes.len() as u64, false);
        Ok(())
    }

    /// A copy for queries.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot { places: self.places.clone(), ..Snapshot::default() };
        for (id, cluster) in self.miner.templates() {
            snapshot.templates.insert(id, cluster.shapes.len() as u8);
            if cluster.merged.is_some() {
                snapshot.merged.insert(id, self.miner.resolve(id));
            }
            for (number, shape) in cluster.shapes.iter().enumerate() {
                snapshot.shapes.insert(variant(id, number as u8), Arc::clone(shape));
            }
        }
        snapshot
    }
}

fn encode(records: &[Record]) -> Result<Vec<u8>, Fault> {
    let payload = serde_json::to_vec(records);
    payload
        .map(|payload| frame(&payload))
        .map_err(|error| Fault::internal("a template cannot be written").detail(error.to_string()))
}
