"""ownership-stream: enforces a field-ownership matrix between an EHR and a CRM on their change streams."""

__version__ = "0.1.0"
