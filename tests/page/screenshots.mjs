// Makes the pictures of docs/page.md: node tests/page/screenshots.mjs FOLDER

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { OPERATOR, configuration, live, openBrowser, openGateway, openPage, openUpstream, pause, until } from "./stand.mjs";

const folder = process.argv[2];
if (!folder) throw new Error("usage: screenshots.mjs FOLDER");
await mkdir(folder, { recursive: true });

const PROMPTS = ["hi", "What is 2 + 2?", "Write a short poem about the sea.", "Thank you!", "Translate 'good morning' into French.", "Name three colours.",
  "Prove that there are infinitely many primes of the form 4k + 3.", "Explain quantum entanglement to a ten-year-old.",
  "A train leaves at 3 pm at 60 mph and another at 4 pm at 80 mph. When does the second catch up with the first?",
  "Write a function in Rust that merges overlapping intervals, and explain its complexity."];

const [weak, strong, browser] = await Promise.all([openUpstream("weak"), openUpstream("strong"), openBrowser()]);
const gateway = await openGateway(configuration(weak, strong));
try {
  const asking = async () => {
    for (let call = 0; call < 40; call += 1) {
      await gateway.chat("auto", PROMPTS[call % PROMPTS.length]);
      if (call % 5 === 0) await gateway.chat("fixed", "hi", "sk-other");
      weak.broken = call === 20;
    }
  };
  for (const [width, height, scheme] of [[1440, 1580, "light"], [360, 1200, "dark"]]) {
    const page = await openPage(browser, gateway, { width, height, scheme, key: OPERATOR });
    await live(page);
    await asking();
    await until("charts", () => page.$("#chart-tenant svg"));
    if (width > 1000) {
      const row = await page.$("#decision-rows tr:nth-child(3) button");
      await row.click();
      await page.select("#play-other", "strong");
      await page.type("#play-prompt", "Write a short poem about the sea.");
      await page.click("#play-send");
      await until("answers", async () => (await page.text("#play-state")).includes("complete"));
      await page.set("#whatif-range", "0.6");
    }
    await pause(3000);
    await page.evaluate(() => {
      document.activeElement.blur();
      window.scrollTo(0, 0);
    });
    await pause(300);
    await page.screenshot({ path: join(folder, `page-${width}-${scheme}.png`) });
    await page.leave();
  }
} finally {
  await browser.close();
  await gateway.close();
  await Promise.all([weak.close(), strong.close()]);
}
