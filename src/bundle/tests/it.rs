//! Whole bundles, from files to a case.
