"""Albums: many photographs through the models, each on its own, from a folder or from a zip."""
