//! The embedded log store: templates and parameters, indexed and kept by Tantivy.
