//! Floor 3: translation only. Requests become calls of the engine's facade, its values become text and
//! JSON. Never decides, never touches a port, never trusts a Host or an Origin it does not know.

pub mod card;
pub mod cli;
pub mod http;
pub mod openapi;
pub mod problem;
pub mod view;
