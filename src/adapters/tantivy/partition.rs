//! A partition: some hundred thousand to some million lines in the order in which they arrived, as a
//! Tantivy index of one segment. Written once, merged into greater ones, removed whole; never changed.
//!
//! Indexed: place, level, variant (template and shape), and the words of the parameters. The words of a
//! shape are not: a query finds the shapes that have them in the catalog and asks for their variants.
//! So a line costs about what is special about it.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use opsward_domain::fault::Fault;
use opsward_domain::time::{AtMs, Window};
use serde::{Deserialize, Serialize};
use tantivy::columnar::ColumnValues;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::merge_indices;
use tantivy::query::{AllQuery, BooleanQuery, EnableScoring, Query, Weight};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value};
use tantivy::store::StoreReader;
use tantivy::tokenizer::{LowerCaser, SimpleTokenizer, TextAnalyzer, TokenizerManager};
use tantivy::{
    DocId, DocSet, Index, IndexSettings, ReloadPolicy, Searcher, SegmentReader, TERMINATED, TantivyDocument, Term,
};

use crate::memtable::{Memtable, params};
use crate::plan::Plan;
use crate::wire::{failed, sync_dir};

/// Lines of a block: the grain at which time is looked at.
const BLOCK_LINES: u32 = 65_536;
/// Tantivy sizes its first tables by this while a partition is written; it holds them only meanwhile.
const WRITE_BYTES: usize = 15 << 20;
/// Blocks of stored parameters kept unpacked while hits are read.
const STORE_BLOCKS: usize = 8;
const TOKENIZER: &str = "words";

/// A partition in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Its number: the name of its folder.
    pub(crate) number: u64,
    /// Lines in it.
    pub(crate) lines: u64,
    /// Time of its oldest line.
    pub(crate) oldest_ms: AtMs,
    /// Time of its newest line.
    pub(crate) newest_ms: AtMs,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

struct Fields {
    at: Field,
    variant: Field,
    place: Field,
    level: Field,
    replica: Field,
    words: Field,
    params: Field,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let words = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_fieldnorms(false);
    let words = words.set_index_option(IndexRecordOption::Basic);
    let fields = Fields {
        at: builder.add_i64_field("at", FAST),
        variant: builder.add_u64_field("variant", FAST | INDEXED),
        place: builder.add_u64_field("place", FAST | INDEXED),
        level: builder.add_u64_field("level", FAST | INDEXED),
        replica: builder.add_u64_field("replica", FAST),
        words: builder.add_text_field("words", TextOptions::default().set_indexing_options(words)),
        params: builder.add_bytes_field("params", STORED),
    };
    (builder.build(), fields)
}

/// Words as the port's text filter has them: runs of letters and digits, folded.
fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register(TOKENIZER, TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build());
    manager
}

/// The folder of partition `number` in a tenant's folder.
pub(crate) fn folder(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.partition"))
}

fn fresh_folder(dir: &Path, number: u64) -> Result<(PathBuf, MmapDirectory), Fault> {
    let path = folder(dir, number);
    let fail = |error: &dyn std::fmt::Display| failed("write", &path, error);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|error| fail(&error))?;
    }
    fs::create_dir(&path).map_err(|error| fail(&error))?;
    let directory = MmapDirectory::open(&path).map_err(|error| fail(&error))?;
    Ok((path, directory))
}

/// Puts every file of the folder on the disk; returns their size.
fn settle(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += entry.metadata()?.len();
        File::open(entry.path())?.sync_all()?;
    }
    sync_dir(path)?;
    sync_dir(path.parent().unwrap_or(path))?;
    Ok(bytes)
}

/// Writes the lines of `tables` as partition `number`. On the disk when it returns.
pub(crate) fn write(dir: &Path, number: u64, tables: &[Arc<Memtable>]) -> Result<Summary, Fault> {
    let (path, directory) = fresh_folder(dir, number)?;
    let fail = |error: &dyn std::fmt::Display| failed("write", &path, error);
    let (schema, fields) = schema();
    let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
    let builder = Index::builder().schema(schema).settings(settings).tokenizers(tokenizers());
    let mut writer = builder.single_segment_index_writer(directory, WRITE_BYTES).map_err(|error| fail(&error))?;
    for (table, row) in tables.iter().flat_map(|table| table.rows().iter().map(move |row| (table, row))) {
        let encoded = table.params(row);
        let mut document = TantivyDocument::default();
        document.add_i64(fields.at, row.at_ms);
        document.add_u64(fields.variant, row.variant);
        document.add_u64(fields.place, u64::from(row.place));
        document.add_u64(fields.level, u64::from(row.level));
        document.add_u64(fields.replica, u64::from(row.replica));
        for param in params(encoded) {
            document.add_text(fields.words, param);
        }
        if !encoded.is_empty() {
            document.add_bytes(fields.params, encoded);
        }
        writer.add_document(document).map_err(|error| fail(&error))?;
    }
    writer.finalize().map_err(|error| fail(&error))?;
    let bytes = settle(&path).map_err(|error| fail(&error))?;
    let times = || tables.iter().flat_map(|table| table.rows()).map(|row| row.at_ms);
    let (oldest_ms, newest_ms) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    Ok(Summary { number, lines: times().count() as u64, oldest_ms, newest_ms, bytes })
}

/// Writes the lines of `parts`, in their order, as partition `number`. On the disk when it returns.
pub(crate) fn merge(dir: &Path, number: u64, parts: &[Arc<Partition>]) -> Result<Summary, Fault> {
    let (path, directory) = fresh_folder(dir, number)?;
    let fail = |error: &dyn std::fmt::Display| failed("merge", &path, error);
    let mut indices = Vec::new();
    for part in parts {
        indices.push(part.opened()?.index.clone());
    }
    merge_indices(&indices, directory).map_err(|error| fail(&error))?;
    let bytes = settle(&path).map_err(|error| fail(&error))?;
    let summaries = || parts.iter().map(|part| &part.summary);
    Ok(Summary {
        number,
        lines: summaries().map(|summary| summary.lines).sum(),
        oldest_ms: summaries().map(|summary| summary.oldest_ms).min().unwrap_or(0),
        newest_ms: summaries().map(|summary| summary.newest_ms).max().unwrap_or(0),
        bytes,
    })
}

type Column<T> = Arc<dyn ColumnValues<T>>;

/// A partition that is open for reading.
pub(crate) struct Opened {
    index: Index,
    searcher: Searcher,
    fields: Fields,
    at: Column<i64>,
    variant: Column<u64>,
    place: Column<u64>,
    level: Column<u64>,
    replica: Column<u64>,
    /// Oldest and newest time by block.
    blocks: OnceLock<Vec<(AtMs, AtMs)>>,
}

/// A partition, opened when it is first asked.
pub(crate) struct Partition {
    pub(crate) summary: Summary,
    path: PathBuf,
    opened: OnceLock<Opened>,
}

/// Numbers of one line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) at_ms: AtMs,
    pub(crate) variant: u64,
    pub(crate) place: u32,
    pub(crate) level: u8,
}

/// In which order blocks are looked at, and whether the rest may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// All of them, as they were written.
    Any,
    /// Those with the newest lines first.
    NewestFirst,
}

impl Partition {
    /// The partition with this summary in a tenant's folder.
    pub(crate) fn new(dir: &Path, summary: Summary) -> Self {
        let path = folder(dir, summary.number);
        Self { summary, path, opened: OnceLock::new() }
    }

    /// Opens it if it is not open. A folder that is not what was written is a fault.
    pub(crate) fn opened(&self) -> Result<&Opened, Fault> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = Opened::open(&self.path).map_err(|error| crate::wire::damaged(&self.path, &error.to_string()))?;
        let lines = u64::from(opened.segment().map_or(0, SegmentReader::max_doc));
        if lines != self.summary.lines {
            let what = format!("holds {lines} lines instead of {}", self.summary.lines);
            return Err(crate::wire::damaged(&self.path, &what));
        }
        Ok(self.opened.get_or_init(|| opened))
    }

    /// True if a line may lie in `window`.
    pub(crate) fn meets(&self, window: &Window) -> bool {
        self.summary.oldest_ms < window.to_ms && self.summary.newest_ms >= window.from_ms
    }
}

impl Opened {
    fn open(path: &Path) -> tantivy::Result<Self> {
        let mut index = Index::open(MmapDirectory::open(path)?)?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError("other fields than this version's".to_owned()));
        }
        index.set_tokenizers(tokenizers());
        let searcher = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher();
        let [segment] = searcher.segment_readers() else {
            return Err(tantivy::TantivyError::SchemaError("not one segment".to_owned()));
        };
        let fast = segment.fast_fields();
        let number = |name: &str| fast.column_first_or_default::<u64>(name);
        let (at, variant) = (fast.column_first_or_default::<i64>("at")?, number("variant")?);
        let (place, level, replica) = (number("place")?, number("level")?, number("replica")?);
        Ok(Self { index, searcher, fields, at, variant, place, level, replica, blocks: OnceLock::new() })
    }

    fn segment(&self) -> Option<&SegmentReader> {
        self.searcher.segment_readers().first()
    }

    fn blocks(&self) -> &[(AtMs, AtMs)] {
        self.blocks.get_or_init(|| {
            let lines = self.segment().map_or(0, SegmentReader::max_doc);
            let mut times = vec![0; BLOCK_LINES as usize];
            let block = |start: u32| {
                let times = &mut times[..(lines - start).min(BLOCK_LINES) as usize];
                self.at.get_range(u64::from(start), times);
                times.iter().fold((AtMs::MAX, AtMs::MIN), |(low, high), at| (low.min(*at), high.max(*at)))
            };
            (0..lines).step_by(BLOCK_LINES as usize).map(block).collect()
        })
    }

    /// The numbers of line `doc`.
    #[inline]
    fn numbers(&self, doc: DocId) -> Found {
        Found {
            at_ms: self.at.get_val(doc),
            variant: self.variant.get_val(doc),
            place: self.place.get_val(doc) as u32,
            level: self.level.get_val(doc) as u8,
        }
    }

    /// How many lines lie in `window`.
    pub(crate) fn count(&self, window: &Window) -> u64 {
        let lines = self.segment().map_or(0, SegmentReader::max_doc);
        (0..lines).filter(|doc| window.contains(self.at.get_val(*doc))).count() as u64
    }

    /// Every template that a line has.
    pub(crate) fn templates(&self, into: &mut std::collections::HashSet<u64>) {
        let lines = self.segment().map_or(0, SegmentReader::max_doc);
        into.extend((0..lines).map(|doc| self.variant.get_val(doc) >> 8));
    }

    /// Replica and encoded parameters of line `doc`.
    pub(crate) fn rest(&self, doc: DocId) -> tantivy::Result<(u32, Vec<u8>)> {
        let document: TantivyDocument = self.searcher.doc(tantivy::DocAddress::new(0, doc))?;
        let params = document.get_first(self.fields.params).and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
        Ok((self.replica.get_val(doc) as u32, params.unwrap_or_default()))
    }

    /// Calls `visit` for every matching line, block by block. `before_block` may end it early: it is
    /// told the newest time that is still to come when the order is [`Order::NewestFirst`].
    pub(crate) fn scan(
        &self,
        plan: &Plan,
        order: Order,
        mut before_block: impl FnMut(AtMs) -> ControlFlow<()>,
        mut visit: impl FnMut(DocId, Found),
    ) -> tantivy::Result<()> {
        let Some(segment) = self.segment() else { return Ok(()) };
        let query = self.query(plan);
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        let store = segment.get_store_reader(STORE_BLOCKS)?;
        let meets = |(low, high): &(AtMs, AtMs)| *low < plan.window.to_ms && *high >= plan.window.from_ms;
        let mut blocks: Vec<(u32, (AtMs, AtMs))> =
            (0..).zip(self.blocks().iter().copied()).filter(|(_, times)| meets(times)).collect();
        if order == Order::NewestFirst {
            blocks.sort_by_key(|(_, (_, high))| std::cmp::Reverse(*high));
        }
        let mut cursor = Cursor::new(weight, segment)?;
        for (block, (_, high)) in blocks {
            if before_block(high).is_break() {
                return Ok(());
            }
            let (start, end) = (block * BLOCK_LINES, (block + 1).saturating_mul(BLOCK_LINES));
            let mut doc = cursor.seek(start)?;
            while doc < end {
                let found = self.numbers(doc);
                if plan.window.contains(found.at_ms)
                    && plan.admits(found.place, found.level, found.variant)
                    && (!plan.is_unsure(found.variant) || self.has_text(plan, &store, doc, found.variant)?)
                {
                    visit(doc, found);
                }
                doc = cursor.advance();
            }
        }
        Ok(())
    }

    fn has_text(&self, plan: &Plan, store: &StoreReader, doc: DocId, variant: u64) -> tantivy::Result<bool> {
        let document: TantivyDocument = store.get(doc)?;
        let params = document.get_first(self.fields.params).and_then(|value| value.as_bytes());
        Ok(plan.has_text(variant, params.unwrap_or_default()))
    }

    /// What the index can tell of the question; the numbers are looked at again by [`Plan::admits`].
    fn query(&self, plan: &Plan) -> Box<dyn Query> {
        let any = |field: Field, values: Vec<u64>| -> Box<dyn Query> {
            let terms = values.into_iter().map(|value| Term::from_field_u64(field, value)).collect();
            Box::new(BooleanQuery::new_multiterms_query(terms))
        };
        let variants = |set: &std::collections::HashSet<u64>| any(self.fields.variant, set.iter().copied().collect());
        let mut all: Vec<Box<dyn Query>> = Vec::new();
        if let Some(places) = &plan.places {
            all.push(any(self.fields.place, places.iter().copied().map(u64::from).collect()));
        }
        if let Some(levels) = &plan.levels {
            all.push(any(self.fields.level, levels.iter().copied().map(u64::from).collect()));
        }
        if plan.template.is_some() {
            all.push(any(self.fields.variant, plan.variants.clone()));
        }
        for term in &plan.terms {
            let word = |(word, shapes): &(String, std::collections::HashSet<u64>)| -> Box<dyn Query> {
                let terms = vec![Term::from_field_text(self.fields.words, word)];
                let indexed: Box<dyn Query> = Box::new(BooleanQuery::new_multiterms_query(terms));
                if shapes.is_empty() { indexed } else { Box::new(BooleanQuery::union(vec![variants(shapes), indexed])) }
            };
            let words = term.words.iter().map(word).collect();
            all.push(Box::new(BooleanQuery::intersection(words)));
        }
        if all.is_empty() { Box::new(AllQuery) } else { Box::new(BooleanQuery::intersection(all)) }
    }
}

/// Matching lines, forward; begun again when asked to go back.
struct Cursor<'a> {
    weight: Box<dyn Weight>,
    segment: &'a SegmentReader,
    scorer: Box<dyn tantivy::query::Scorer>,
}

impl<'a> Cursor<'a> {
    fn new(weight: Box<dyn Weight>, segment: &'a SegmentReader) -> tantivy::Result<Self> {
        let scorer = weight.scorer(segment, 1.0)?;
        Ok(Self { weight, segment, scorer })
    }

    /// The first match at `doc` or after it.
    fn seek(&mut self, doc: DocId) -> tantivy::Result<DocId> {
        if self.scorer.doc() > doc {
            self.scorer = self.weight.scorer(self.segment, 1.0)?;
        }
        Ok(if self.scorer.doc() < doc { self.scorer.seek(doc) } else { self.scorer.doc() })
    }

    fn advance(&mut self) -> DocId {
        if self.scorer.doc() == TERMINATED { TERMINATED } else { self.scorer.advance() }
    }
}
