// Sets the theme before anything is drawn.
(() => {
  const choice = localStorage.getItem("theme");
  const dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
