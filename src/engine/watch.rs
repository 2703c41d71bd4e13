//! tmp
pub async fn run(_e: std::sync::Arc<crate::facade::Engine>) {}
