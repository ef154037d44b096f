// Unfold writes the name of a chosen file into a text field beside it; here is none.
"use strict";

for (const input of document.querySelectorAll("input[type=file][data-plain]")) {
  input.hasChangeListener = true;
}
