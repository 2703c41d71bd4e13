//! The model port on any OpenAI-compatible endpoint, dialect by dialect.
