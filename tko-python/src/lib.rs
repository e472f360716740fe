//! Python package tko: SDK for plugins, client and embedded orchestrator.
