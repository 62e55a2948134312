// The page for logging in.
import { ApiError, get, post } from "./api.js";

const form = document.getElementById("form");
const message = document.getElementById("message");
const other = document.getElementById("other");
const withToken = document.getElementById("with-token");
const withUser = document.getElementById("with-user");
let byToken = true;

function show() {
  withToken.hidden = !byToken;
  withUser.hidden = byToken;
  other.textContent = byToken ? "Use a user and password" : "Use the token";
  message.textContent = "";
  (byToken ? form.elements.token : form.elements.user).focus();
}

other.addEventListener("click", () => {
  byToken = !byToken;
  show();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  message.textContent = "";
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  const { token, user, password } = form.elements;
  try {
    await post("/api/v1/session", byToken ? { token: token.value } : { user: user.value, password: password.value });
    location.replace("/");
  } catch (error) {
    message.textContent = error instanceof ApiError ? error.message : String(error);
    (byToken ? token : password).select();
  } finally {
    button.disabled = false;
  }
});

show();
get("/api/v1/session").then(
  (session) => {
    if (session.logged_in) location.replace("/");
    other.hidden = !session.password;
  },
  (error) => (message.textContent = error.message),
);
