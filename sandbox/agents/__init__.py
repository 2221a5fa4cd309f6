"""An agent worker under test."""
