"""Whether answers become better by what people say of them: a simulated month."""
