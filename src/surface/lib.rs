//! Floor 3: translation only: HTTP, WebSocket, chat page, alerts, CLI.
