// The login: by name and password, by token, or by the code in the fragment of a link, which never leaves the browser.

const problem = document.getElementById("problem");

function say(text) {
  problem.textContent = text;
  problem.hidden = text === "";
}

/** Where to go after the login: only a page of this site, whole. Of "/.//other.site" the path alone is "//other.site". */
function target() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  const url = URL.canParse(wanted, location.origin) ? new URL(wanted, location.origin) : null;
  return url?.origin === location.origin ? url.href : "/";
}

async function logIn(wish) {
  say("");
  const buttons = [...document.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  try {
    const answer = await fetch("/api/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(wish),
    });
    if (answer.ok) {
      location.replace(target());
      return;
    }
    const fault = await answer.json().catch(() => ({}));
    say([fault.detail || "The login failed.", fault.hint].filter(Boolean).join(" — "));
  } catch {
    say("The node does not answer.");
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    logIn(Object.fromEntries(new FormData(form)));
  });
}

const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  history.replaceState(null, "", location.pathname + location.search);
  logIn({ code });
}
