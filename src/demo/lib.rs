//! The demo's services, clients and fault injector: processes of their own that share no code with the diagnosis.
