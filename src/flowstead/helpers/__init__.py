"""What flow authors import beyond the authoring names. Nothing is loaded until a module of it is imported."""
