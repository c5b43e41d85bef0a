// Logins under way: on to the EHR, and back. In a frame without cookies the window's name keeps the secret meanwhile.
"use strict";
(() => {
  const MARK = "fhir-tracker:";
  const kept = () => {
    if (!window.name.startsWith(MARK)) return "";
    const [secret, ...former] = window.name.slice(MARK.length).split(" ");
    window.name = former.join(" ");
    return secret;
  };
  const keep = (secret) => { if (secret) { kept(); window.name = `${MARK}${secret} ${window.name}`; } };

  const go = document.querySelector("a[data-launch-go]");
  if (go) { keep(go.dataset.launchSecret); location.replace(go.href); }

  const sent = document.querySelector("form[data-launch-send]");
  if (sent) { keep(sent.dataset.launchSecret); sent.submit(); }

  if (document.querySelector("meta[name=tracker-handle], meta[name=tracker-login-over]")) kept(); // in, by the cookie, or not

  const form = document.querySelector("form[data-launch-window]");
  if (form) {
    for (const [name, value] of [...new URLSearchParams(location.search), ["window", kept()]]) {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = name;
      field.value = value;
      form.append(field);
    }
    form.submit();
  }
})();
